"""When a Hybrid session sleeps and when it wakes; pure.

Its life: asleep (no pod) until the gateway asks for it, waking (a pod or a place in a pool, then a handover), Running,
and asleep again once its host has put it away. Nothing but a `lastRequestTime` that was not answered yet wakes it, so
that one wake serves any number of requests, and nothing is lost when the operator dies in between.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from agentsessions.api.conditions import LIMITED, WOKEN_IN_VAIN, Reason, State
from agentsessions.api.config import OperatorConfig
from agentsessions.api.host import HostSession, SessionFault
from agentsessions.api.pool import AgentPool
from agentsessions.api.status import AgentSessionStatus
from agentsessions.policies import retention
from agentsessions.policies.endpoint import endpoint
from agentsessions.policies.facts import PodFacts
from agentsessions.policies.hosts import HostFacts
from agentsessions.policies.resolve import Settings
from agentsessions.policies.restart import LONGEST_PAUSE, doubled, is_paused
from agentsessions.reconcile.longrunning.figures import with_last_words
from agentsessions.reconcile.longrunning.lastcopy import may_have_the_session
from agentsessions.reconcile.longrunning.limits import bounded
from agentsessions.reconcile.longrunning.model import LOOK_AGAIN, Around, PutAway, Step
from agentsessions.reconcile.longrunning.placing import place
from agentsessions.reconcile.longrunning.rows import blocked, set_state
from agentsessions.reconcile.model import DeleteSession, Notice

IDLE_SECONDS = 900
_AGAIN = timedelta(seconds=60)
"""How long a session that could not be put away is left alone before the next try."""
_SOONEST = timedelta(seconds=1)
AGAIN_BY_MESSAGE = "It holds no pod meanwhile; the next message tries again, from `status.retryTime` on if that is set."
_FIRST_PAUSE = timedelta(seconds=10)
_FORGOTTEN = timedelta(hours=1)
"""A wake that was in vain so long ago is not held against the session any more."""
_TEXT = {
    Reason.ASLEEP: "The session sleeps and holds no pod; a message wakes it.",
    Reason.SUSPENDED: "The session is suspended (`suspended: true`); it takes no messages until that is false.",
}


def sleeps(around: Around, now: datetime, config: OperatorConfig, *, may_wake: bool) -> Step | None:
    """Return the step of a session that sleeps on, or None if it has to wake."""
    wait = None
    if may_wake and not around.session.spec.suspended and is_asked_for(around.session.status):
        wait = _until_it_is_tried_again(around, now)
        if wait is None:
            return None
    return Step(_resting(around, around.session.status, now, config), requeue=wait)


def timed(around: Around, status: AgentSessionStatus, now: datetime) -> AgentSessionStatus:
    """Return the status of a session without a host; one that sleeps since this pass has its whole time to live.

    Whatever it was before (suspended, at a bound, woken in vain), no message was taken meanwhile. One that is new has
    said nothing yet: its time counts from when it was made.
    """
    before, after = around.session.status.condition("Ready"), status.condition("Ready")
    slept = before is None or before.reason == Reason.ASLEEP
    if slept or after is None or after.reason != Reason.ASLEEP:
        return status
    return status.model_copy(update={"suspend_time": now})


def until_it_expires(around: Around, step: Step, settings: Settings, now: datetime) -> Step:
    """Return the step of a session without a host, with its end if it has slept for its time to live.

    Only of one whose status says already that it sleeps, and only as it was read: a message that comes meanwhile
    changes it, and then it is not deleted.
    """
    session, ready = around.session, around.session.status.condition("Ready")
    left = retention.time_asleep(session, settings.fields.ttl_seconds_after_idle, now)
    if left is None or ready is None or ready.reason != Reason.ASLEEP or step.status != session.status:
        return step
    if left > timedelta():
        return step.within(left)
    return replace(step, actions=(*step.actions, DeleteSession(session)))


def is_in_vain(around: Around, pod: PodFacts, settings: Settings, now: datetime) -> bool:
    """Return whether the session was woken in vain for so long that its own pod is not worth its price any more."""
    stalled = around.session.status.condition("Stalled")
    if stalled is None or stalled.reason not in WOKEN_IN_VAIN:
        return False
    long_enough = now - stalled.last_transition_time >= _timeout(settings)
    return long_enough and around.heard and not may_have_the_session(around, pod)


def in_vain(around: Around, now: datetime) -> Step:
    """Let go of the pod of a session that was woken in vain."""
    stalled = around.session.status.condition("Stalled")
    assert stalled is not None
    return given_up(around, stalled.reason, stalled.message, now)


def given_up(around: Around, reason: str, message: str, now: datetime) -> Step:
    """Let go of the pod of a session that cannot go on; it says still why, and a message tries again."""
    return podless(around, blocked(around, reason, f"{message} {AGAIN_BY_MESSAGE}", now), now)


def podless(around: Around, step: Step, now: datetime) -> Step:
    """Return the step of a session that cannot go on, and holds no pod until a message tries again.

    When that happens again and again, the next has to wait, longer each time: a client that does not would have pods
    made without end.
    """
    before = around.session.status
    recent = before.suspend_time is not None and now - before.suspend_time < _FORGOTTEN
    failed = before.failed_wakes + 1 if recent else 1
    pause = doubled(_FIRST_PAUSE, failed - 2, LONGEST_PAUSE) if failed > 1 else None
    update = {
        "host": None,
        "suspend_time": now,
        "answered_request_time": before.last_request_time,
        "failed_wakes": failed,
        "retry_time": now + pause if pause is not None else None,
    }
    return Step(step.status.model_copy(update=update), step.notices)


def _until_it_is_tried_again(around: Around, now: datetime) -> timedelta | None:
    """Return how long a session that was woken in vain too often rests on, though it is asked for; None: not at all."""
    until = around.session.status.retry_time
    if until is None or not is_paused(until, now) or not _has_given_up(around):
        return None
    return until - now


def is_asked_for(status: AgentSessionStatus) -> bool:
    """Return whether the gateway asked for the session since it was last woken. No two clocks are compared."""
    return status.last_request_time is not None and status.last_request_time != status.answered_request_time


def wake_in_pool(around: Around, pool: AgentPool, now: datetime, config: OperatorConfig) -> Step:
    """Give the session a place in its pool."""
    step = place(around, pool, now, config)
    if not step.placed:
        return step
    before, ready = around.session.status, around.session.status.condition("Ready")
    slept = ready is None or ready.reason in _TEXT or ready.reason in LIMITED
    # To wake is no restart; to be placed again since a host was lost is one.
    status = step.status.model_copy(update={"restarts": before.restarts}) if slept else step.status
    return Step(awake(around, status), step.notices, step.requeue, placed=step.placed)


def awake(around: Around, status: AgentSessionStatus) -> AgentSessionStatus:
    """Return the status of a session that is given a pod or a place: one wake more, and the request answered."""
    asked = around.session.status.last_request_time
    return status.model_copy(update={"wakes": status.wakes + 1, "answered_request_time": asked, "retry_time": None})


def tired(around: Around, step: Step, settings: Settings, pod: HostFacts, now: datetime) -> Step:
    """Return the step of a session that its host has, with the putting away that its time has come for."""
    news, suspended = around.news, bool(around.session.spec.suspended)
    if news is None or not around.heard:
        return step
    if (fault := _could_not(news)) is not None:
        step = _kept_awake(around, step, fault, now)
    if could_not_just_now(news, now):
        return step
    if suspended:
        return Step(step.status, step.notices, LOOK_AGAIN, put_away=PutAway(pod, patient=True))
    if news.idle_since is None:
        return step  # whatever keeps it awake: its end is told by the host
    left = news.idle_since + _timeout(settings) - now
    if left > timedelta():
        return step.within(left)
    return Step(step.status, step.notices, LOOK_AGAIN, put_away=PutAway(pod, patient=False))


def fallen_asleep(
    around: Around, told: AgentSessionStatus, news: HostSession, now: datetime, config: OperatorConfig
) -> Step:
    """The host has put the session away: let go of it, with all that there is to know of it, as it has `told`.

    One that has reached a bound says that.
    """
    before = around.session.status
    status = with_last_words(told, news)
    update = {
        "host": None,
        "suspend_time": now,
        # A request that came since the wake found the session awake: it is answered.
        "answered_request_time": before.last_request_time,
    }
    rested = _resting(around, status.model_copy(update=update), now, config)
    return Step(bounded(around, rested, around.limits, now))


def could_not_just_now(news: HostSession, now: datetime) -> bool:
    """Return whether the host tried to put the session away a moment ago, and could not."""
    fault = _could_not(news)
    return fault is not None and now - fault.time < _AGAIN


def _could_not(news: HostSession) -> SessionFault | None:
    """Return why the host could not put the session away, if it tried."""
    fault = news.fault
    return fault if fault is not None and fault.reason in (Reason.ARCHIVE_FAILED, Reason.STORE_BEHIND) else None


def _kept_awake(around: Around, step: Step, fault: SessionFault, now: datetime) -> Step:
    """Say why a session that should sleep cannot, and try again after a while; an event tells of it when it is new."""
    known, ready = around.session.status.condition("Ready"), step.status.condition("Ready")
    state, why, text = State.RUNNING, str(Reason.RUNNING), f"The session stays awake: {fault.message}"
    if ready is not None and ready.reason in LIMITED:  # at its bound it takes no message, awake or not
        state, why, text = State.BLOCKED, ready.reason, f"{ready.message} {text}"
    status = set_state(around, state, why, text, now, onto=step.status)
    new = known is None or known.message != text
    notices = (Notice("Warning", fault.reason, "Suspend", text),) if new else ()
    # As the pause is measured, from when the host said so: a look that comes a moment too early would cost another one.
    return Step(status, (*step.notices, *notices), max(fault.time + _AGAIN - now, _SOONEST))


def _resting(around: Around, status: AgentSessionStatus, now: datetime, config: OperatorConfig) -> AgentSessionStatus:
    """Return the status of a session without a pod."""
    reason = Reason.SUSPENDED if around.session.spec.suspended else Reason.ASLEEP
    if reason is Reason.ASLEEP and _has_given_up(around):
        return status
    status = set_state(around, State.ASLEEP, reason, _TEXT[reason], now, onto=status)
    rested = {"host": None, "endpoint": endpoint(around.session, config), "failed_wakes": 0, "retry_time": None}
    return status.model_copy(update=rested)


def _has_given_up(around: Around) -> bool:
    """Return whether the session was last woken in vain, and nobody has changed its spec since."""
    status, generation = around.session.status, around.session.metadata.generation
    stalled = status.condition("Stalled")
    known = stalled is not None and stalled.reason in WOKEN_IN_VAIN and stalled.observed_generation == generation
    return known and status.host is None


def _timeout(settings: Settings) -> timedelta:
    return timedelta(seconds=settings.fields.idle_timeout_seconds or IDLE_SECONDS)
