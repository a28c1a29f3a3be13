"""What a host's answer to a handover means for the session's status; pure."""

from datetime import datetime, timedelta

from agentsessions.api.bounds import SessionLimits
from agentsessions.api.conditions import HELD, Reason
from agentsessions.api.config import OperatorConfig
from agentsessions.api.host import Beginning, HostSession
from agentsessions.api.status import AgentSessionStatus
from agentsessions.hosts.errors import (
    Draining,
    Fenced,
    HostError,
    HostFull,
    Misdirected,
    Refused,
    StorageTrouble,
    TranscriptMissing,
)
from agentsessions.policies.endpoint import endpoint
from agentsessions.reconcile.longrunning.limits import bounded, cut_short, watched
from agentsessions.reconcile.longrunning.model import LOOK_AGAIN, Around, Handover, Step
from agentsessions.reconcile.longrunning.placing import place
from agentsessions.reconcile.longrunning.plan import as_told, found_text
from agentsessions.reconcile.longrunning.rows import blocked, waiting, with_resumed
from agentsessions.reconcile.model import Notice

_EMPTY = "The conversation so far was not found; the session goes on with an empty one (`onMissingTranscript`)."
_LOSSES = {
    Beginning.LOST: (Reason.TRANSCRIPT_MISSING, _EMPTY),
    Beginning.TRUNCATED: (
        Reason.TRANSCRIPT_TRUNCATED,
        "Only a part of the conversation so far was found; the session goes on with it (`onMissingTranscript`).",
    ),
    Beginning.DIVERGED: (
        Reason.TRANSCRIPT_DIVERGED,
        "Another conversation was found than there had been; the session goes on with it (`onMissingTranscript`).",
    ),
}
_REFUSALS = {
    "transcript-missing": (Reason.TRANSCRIPT_MISSING, "The conversation so far was not found."),
    "transcript-truncated": (Reason.TRANSCRIPT_TRUNCATED, "Only a part of the conversation so far was found."),
    "transcript-diverged": (Reason.TRANSCRIPT_DIVERGED, "Another conversation was found than there had been."),
}
_TROUBLES = {
    "store-refused": Reason.STORE_REFUSED,
    "archive-failed": Reason.ARCHIVE_FAILED,
    "fork-source-missing": Reason.FORK_SOURCE_NOT_FOUND,
}
_HELD = HELD | {Reason.HOST_NOT_READY, Reason.HOST_UNREACHABLE}
"""Reasons of Ready of a session that its host had taken before this pass."""

_FIRST_WAIT = timedelta(seconds=2)
_LAST_WAIT = timedelta(seconds=60)


def accepted(
    around: Around, step: Step, given: Handover, news: HostSession, now: datetime, config: OperatorConfig
) -> Step:
    """The host has the session: say that it runs, and whether its conversation is whole."""
    before = around.session.status
    again = 1 if _was_forgotten(around) else 0
    status = bounded(around, as_told(around, step.status, given.host, news, now), _limits(given), now)
    status = status.model_copy(
        update={"restarts": before.restarts + again, "endpoint": endpoint(around.session, config)}
    )
    taken_up = _taken_up(around, status, news, now).saying(*cut_short(before, status, news))
    return watched(around, taken_up, _limits(given), now)


def _taken_up(around: Around, status: AgentSessionStatus, news: HostSession, now: datetime) -> Step:
    """Say what became of the conversation so far."""
    before = around.session.status
    if news.beginning is Beginning.RESUMED and _had_a_life(before):
        status = with_resumed(around, status, "True", Reason.TRANSCRIPT_FOUND, found_text(news), now)
        return Step(status, notices=_interrupted(around, news))
    if news.beginning not in _LOSSES:
        return Step(status)
    reason, text = _LOSSES[news.beginning]
    status = with_resumed(around, status, "False", reason, text, now)
    return Step(status, notices=_once(before, reason, text))


def _limits(given: Handover) -> SessionLimits:
    return given.activation.settings.limits


def refused(around: Around, given: Handover, error: HostError, now: datetime, config: OperatorConfig) -> Step:
    """The host does not take the session: find another, wait, or say what is wrong."""
    if isinstance(error, HostFull) and around.pool is not None:
        return place(around, around.pool, now, config)
    if isinstance(error, Draining):
        text = f"Host '{given.host.name}' takes no sessions at the moment."
        return waiting(around, Reason.HOST_NOT_READY, text, now, LOOK_AGAIN)
    if isinstance(error, TranscriptMissing):
        return _missing(around, error, now)
    if isinstance(error, StorageTrouble):
        return _storage_trouble(around, error, now)
    if isinstance(error, Fenced):
        return _outnumbered(around, error, now)
    if isinstance(error, Refused):
        text = f"Host '{given.host.name}' refuses the session ({error.slug}): {error.detail}"
        return patient(blocked(around, Reason.ACTIVATION_REFUSED, text, now), around, now)
    what = "another pod has its address" if isinstance(error, Misdirected) else "it does not answer"
    text = f"Host '{given.host.name}' cannot be reached: {what}."
    return waiting(around, Reason.HOST_UNREACHABLE, text, now, _patience(around, now))


def patient(step: Step, around: Around, now: datetime) -> Step:
    """Return the step, to be looked at again after a while that grows with how long it lasts."""
    return Step(step.status, step.notices, _patience(around, now))


def _missing(around: Around, error: TranscriptMissing, now: datetime) -> Step:
    """The conversation so far cannot be had whole, and the spec says not to go on without it."""
    reason, text = _REFUSALS.get(error.slug, _REFUSALS["transcript-missing"])
    text = f"{text} Bring it back, or set `onMissingTranscript: StartFresh` to go on without it."
    step = blocked(around, reason, text, now)
    status = with_resumed(around, step.status, "False", reason, text, now)
    return patient(Step(status, step.notices), around, now)


def _storage_trouble(around: Around, error: StorageTrouble, now: datetime) -> Step:
    """Store or archive cannot be used now: wait for it, never go on without it."""
    if error.slug == "store-unreachable":
        text = "The session store does not answer: the session wakes when it does."
        return waiting(around, Reason.STORE_UNREACHABLE, text, now, _patience(around, now))
    reason = _TROUBLES.get(error.slug, Reason.ACTIVATION_REFUSED)
    return patient(blocked(around, reason, error.detail, now), around, now)


def _outnumbered(around: Around, error: Fenced, now: datetime) -> Step:
    """The store has a later claim than status can have made, which must have lost some: go on from the store's number.

    Nobody else is given the session: where it is was read from the API server in this very pass.
    """
    text = "The session store knows of more pods of the session than its status does; it is claimed anew."
    step = waiting(around, Reason.HOST_NOT_READY, text, now, LOOK_AGAIN)
    number = max(step.status.wakes, error.epoch - step.status.restarts)
    return Step(step.status.model_copy(update={"wakes": number}), step.notices, step.requeue)


def _once(before: AgentSessionStatus, reason: Reason, text: str) -> tuple[Notice, ...]:
    """Return the event that tells of a lost conversation, unless status says so already."""
    known = before.condition("Resumed")
    if known is not None and known.reason == reason and before.is_true("Ready"):
        return ()
    return (Notice("Warning", reason, "Resume", text),)


def _interrupted(around: Around, news: HostSession) -> tuple[Notice, ...]:
    """Return the event that tells of a turn that was cut; what comes of it is the session's own choice."""
    if not news.interrupted:
        return ()
    goes_on = around.session.spec.on_interrupted_turn == "Continue"
    then = "the agent is asked to go on" if goes_on else "send a message to go on"
    return (Notice("Warning", Reason.TURN_INTERRUPTED, "Resume", f"The last turn was cut off; {then}."),)


def _was_forgotten(around: Around) -> bool:
    """Return whether the session ran on this very pod and the host does not know it any more, and no crash says why."""
    begun = around.session.status.start_time is not None
    crashed = around.restarted or _comes_back(around)
    return begun and around.heard and around.news is None and _held(around) and not crashed


def _comes_back(around: Around) -> bool:
    """Return whether the host is being waited for since an end of its container that an earlier pass has counted."""
    host, last = around.session.status.host, around.session.status.last_termination
    ready = around.session.status.condition("Ready")
    waits = ready is not None and ready.reason in (Reason.HOST_NOT_READY, Reason.HOST_UNREACHABLE)
    in_place = last is not None and bool(last.in_place) and last.reason != Reason.CLI_FAILED
    return waits and in_place and last is not None and host is not None and last.pod_uid == host.pod_uid


def _held(around: Around) -> bool:
    """Return whether the pass before this one did not place the session, which counts a restart of its own."""
    ready = around.session.status.condition("Ready")
    return ready is not None and ready.reason in _HELD


def _had_a_life(before: AgentSessionStatus) -> bool:
    """Return whether there is something that a conversation could have been resumed after."""
    return before.start_time is not None


def _patience(around: Around, now: datetime) -> timedelta:
    """Wait as long again as the trouble has lasted, within bounds."""
    ready = around.session.status.condition("Ready")
    lasted = now - ready.last_transition_time if ready and ready.status == "False" else timedelta()
    return min(max(lasted, _FIRST_WAIT), _LAST_WAIT)
