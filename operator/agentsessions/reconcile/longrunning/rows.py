"""Status changes that several steps share; pure. Sessions that last never finish, so they have no Succeeded."""

from datetime import datetime, timedelta

from agentsessions.api.conditions import ConditionType, Reason, State, condition_for, conditions_for
from agentsessions.api.host import HostSession
from agentsessions.api.status import AgentSessionStatus, Condition, ConditionStatus
from agentsessions.policies.startup import Diagnosis
from agentsessions.reconcile.longrunning.model import Around, Step
from agentsessions.reconcile.model import Notice
from agentsessions.reconcile.rows import steady

_DURABLE = ConditionType.TRANSCRIPT_DURABLE
_LASTING = (ConditionType.RESUMED, _DURABLE, ConditionType.PROGRESSING)
_STORE_PROBLEMS: dict[str, tuple[Reason, str]] = {
    Reason.STORE_BEHIND: (Reason.STORE_BEHIND, "The session store had lost something and gets it back."),
    Reason.TRANSCRIPT_DIVERGED: (
        Reason.TRANSCRIPT_DIVERGED,
        "The session store has what this pod does not: another pod wrote it, or the transcript on the pod's disk was "
        "altered. Nothing is overwritten.",
    ),
    Reason.STORE_UNREACHABLE: (Reason.STORE_UNREACHABLE, "The session store does not answer; it is tried again."),
    Reason.STORE_REFUSED: (
        Reason.STORE_REFUSED,
        "The session store refuses what is written: check its credentials (`sessionStore.secretRef`) and its room.",
    ),
}


def set_state(
    around: Around, state: State, reason: str, message: str, now: datetime, *, onto: AgentSessionStatus | None = None
) -> AgentSessionStatus:
    """Return the status with the conditions of `state`; what is known of conversation and image stays."""
    session = around.session
    status = onto or session.status
    row = conditions_for(
        state,
        reason,
        steady(session, state, reason, message),
        previous=session.status.conditions,
        generation=session.metadata.generation,
        now=now,
        ends=False,
    )
    kept = [condition for condition in status.conditions if condition.type in _LASTING]
    update = {
        "conditions": [*row, *kept],
        "observed_generation": session.metadata.generation,
        "session_id": session.metadata.uid,
        "queue": None,
    }
    return status.model_copy(update=update)


def with_resumed(
    around: Around, status: AgentSessionStatus, value: ConditionStatus, reason: Reason, message: str, now: datetime
) -> AgentSessionStatus:
    """Return the status with Resumed set."""
    return _with_condition(around, status, ConditionType.RESUMED, value, reason, message, now)


def with_stored(around: Around, status: AgentSessionStatus, news: HostSession, now: datetime) -> AgentSessionStatus:
    """Return the status with TranscriptDurable as the host says."""
    if news.durable is None:
        return status
    if news.durable:
        text = "The session store has the whole transcript."
        return _with_condition(around, status, _DURABLE, "True", Reason.TRANSCRIPT_STORED, text, now)
    reason, text = _STORE_PROBLEMS.get(news.store_problem or "", _STORE_PROBLEMS[Reason.STORE_BEHIND])
    text = f"{text} What was said is on the pod's disk until then."
    return _with_condition(around, status, _DURABLE, "False", reason, text, now)


def _with_condition(
    around: Around,
    status: AgentSessionStatus,
    kind: ConditionType,
    value: ConditionStatus,
    reason: Reason,
    message: str,
    now: datetime,
) -> AgentSessionStatus:
    made: Condition = condition_for(
        kind,
        value,
        reason,
        message,
        previous=around.session.status.conditions,
        generation=around.session.metadata.generation,
        now=now,
    )
    others = [c for c in status.conditions if c.type != kind]
    return status.model_copy(update={"conditions": [*others, made]})


def waiting(
    around: Around,
    reason: Reason,
    message: str,
    now: datetime,
    requeue: timedelta,
    *,
    onto: AgentSessionStatus | None = None,
) -> Step:
    """Say what the session waits for; it goes on by itself."""
    return Step(set_state(around, State.PROGRESSING, reason, message, now, onto=onto), requeue=requeue)


def blocked(
    around: Around, reason: str, message: str, now: datetime, *, onto: AgentSessionStatus | None = None
) -> Step:
    """Say what only a person can mend; an event tells of it when it is new."""
    status = set_state(around, State.BLOCKED, reason, message, now, onto=onto)
    return Step(status, _once(around, reason, message))


def not_made(around: Around, found: Diagnosis, now: datetime, *, onto: AgentSessionStatus) -> Step:
    """Say why the API server would not have the session's pod; an event tells of it when it is new."""
    status = set_state(around, found.state, found.reason, found.message, now, onto=onto)
    return Step(status, _once(around, found.reason, found.message))


def _once(around: Around, reason: str, message: str) -> tuple[Notice, ...]:
    """Return a warning event when the reason is new; the condition says it from then on."""
    ready = around.session.status.condition(ConditionType.READY)
    known = ready is not None and ready.reason == reason
    return () if known else (Notice("Warning", reason, "Host", message),)
