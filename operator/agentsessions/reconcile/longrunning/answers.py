"""What a host's answer to a handover means for the session's status; pure."""

from datetime import datetime, timedelta

from agentsessions.api.conditions import Reason
from agentsessions.api.config import OperatorConfig
from agentsessions.api.host import Beginning, HostSession
from agentsessions.api.status import AgentSessionStatus
from agentsessions.hosts.errors import (
    Draining,
    HostError,
    HostFull,
    Misdirected,
    Refused,
    TranscriptMissing,
)
from agentsessions.policies.endpoint import endpoint
from agentsessions.reconcile.longrunning.model import LOOK_AGAIN, Around, Handover, Step
from agentsessions.reconcile.longrunning.placing import place
from agentsessions.reconcile.longrunning.plan import as_told
from agentsessions.reconcile.longrunning.rows import blocked, waiting, with_resumed
from agentsessions.reconcile.model import Notice

_FIRST_WAIT = timedelta(seconds=2)
_LAST_WAIT = timedelta(seconds=60)


def accepted(
    around: Around, step: Step, given: Handover, news: HostSession, now: datetime, config: OperatorConfig
) -> Step:
    """The host has the session: say that it runs, and whether its conversation is whole."""
    before = around.session.status
    again = 1 if _was_forgotten(around) else 0
    status = as_told(around, step.status, given.host, news, now)
    status = status.model_copy(
        update={"restarts": before.restarts + again, "endpoint": endpoint(around.session, config)}
    )
    if news.beginning is Beginning.RESUMED and _had_a_life(before):
        text = "The conversation was found and goes on."
        return Step(with_resumed(around, status, "True", Reason.TRANSCRIPT_FOUND, text, now))
    if news.beginning is not Beginning.LOST:
        return Step(status)
    text = "The conversation so far was not found; the session goes on with an empty one (`onMissingTranscript`)."
    status = with_resumed(around, status, "False", Reason.TRANSCRIPT_MISSING, text, now)
    return Step(status, notices=_once(before, text))


def refused(around: Around, given: Handover, error: HostError, now: datetime, config: OperatorConfig) -> Step:
    """The host does not take the session: find another, wait, or say what is wrong."""
    if isinstance(error, HostFull) and around.pool is not None:
        return place(around, around.pool, now, config)
    if isinstance(error, Draining):
        text = f"Host '{given.host.name}' takes no sessions at the moment."
        return waiting(around, Reason.HOST_NOT_READY, text, now, LOOK_AGAIN)
    if isinstance(error, TranscriptMissing):
        return _missing(around, now)
    if isinstance(error, Refused):
        text = f"Host '{given.host.name}' refuses the session ({error.slug}): {error.detail}"
        return patient(blocked(around, Reason.ACTIVATION_REFUSED, text, now), around, now)
    what = "another pod has its address" if isinstance(error, Misdirected) else "it does not answer"
    text = f"Host '{given.host.name}' cannot be reached: {what}."
    return waiting(around, Reason.HOST_UNREACHABLE, text, now, _patience(around, now))


def patient(step: Step, around: Around, now: datetime) -> Step:
    """Return the step, to be looked at again after a while that grows with how long it lasts."""
    return Step(step.status, step.notices, _patience(around, now))


def _missing(around: Around, now: datetime) -> Step:
    """The conversation so far is not on the host, and the spec says not to go on without it."""
    text = (
        "The conversation so far was not found on the host. Bring its files back, or set "
        "`onMissingTranscript: StartFresh` to go on with an empty one."
    )
    step = blocked(around, Reason.TRANSCRIPT_MISSING, text, now)
    status = with_resumed(around, step.status, "False", Reason.TRANSCRIPT_MISSING, text, now)
    return patient(Step(status, step.notices), around, now)


def _once(before: AgentSessionStatus, text: str) -> tuple[Notice, ...]:
    """Return the event that tells of a lost conversation, unless status says so already."""
    known = before.condition("Resumed")
    if known is not None and known.reason == Reason.TRANSCRIPT_MISSING and before.is_true("Ready"):
        return ()
    return (Notice("Warning", Reason.TRANSCRIPT_MISSING, "Resume", text),)


def _was_forgotten(around: Around) -> bool:
    """Return whether the session ran on this very pod and the host, started anew, does not know it any more."""
    return around.session.status.start_time is not None and around.heard and around.news is None and _held(around)


def _held(around: Around) -> bool:
    """Return whether the pass before this one did not place the session, which counts a restart of its own."""
    ready = around.session.status.condition("Ready")
    return ready is not None and ready.reason not in (Reason.STARTING, Reason.TRANSCRIPT_MISSING)


def _had_a_life(before: AgentSessionStatus) -> bool:
    """Return whether there is something that a conversation could have been resumed after."""
    return before.start_time is not None


def _patience(around: Around, now: datetime) -> timedelta:
    """Wait as long again as the trouble has lasted, within bounds."""
    ready = around.session.status.condition("Ready")
    lasted = now - ready.last_transition_time if ready and ready.status == "False" else timedelta()
    return min(max(lasted, _FIRST_WAIT), _LAST_WAIT)
