"""Status changes that several steps share; pure. Sessions that last never finish, so they have no Succeeded."""

from datetime import datetime, timedelta

from agentsessions.api.conditions import ConditionType, Reason, State, condition_for, conditions_for
from agentsessions.api.status import AgentSessionStatus, Condition, ConditionStatus
from agentsessions.reconcile.longrunning.model import Around, Step
from agentsessions.reconcile.model import Notice

_OF_THE_CONVERSATION = (ConditionType.RESUMED, ConditionType.TRANSCRIPT_DURABLE)


def set_state(
    around: Around, state: State, reason: str, message: str, now: datetime, *, onto: AgentSessionStatus | None = None
) -> AgentSessionStatus:
    """Return the status with the conditions of `state`; what is known of the conversation stays."""
    session = around.session
    status = onto or session.status
    row = conditions_for(
        state,
        reason,
        message,
        previous=session.status.conditions,
        generation=session.metadata.generation,
        now=now,
        ends=False,
    )
    kept = [condition for condition in status.conditions if condition.type in _OF_THE_CONVERSATION]
    update = {
        "conditions": [*row, *kept],
        "observed_generation": session.metadata.generation,
        "session_id": session.metadata.uid,
    }
    return status.model_copy(update=update)


def with_resumed(
    around: Around, status: AgentSessionStatus, value: ConditionStatus, reason: Reason, message: str, now: datetime
) -> AgentSessionStatus:
    """Return the status with Resumed set."""
    return _with_condition(around, status, ConditionType.RESUMED, value, reason, message, now)


def with_durable(
    around: Around, status: AgentSessionStatus, value: ConditionStatus, reason: Reason, message: str, now: datetime
) -> AgentSessionStatus:
    """Return the status with TranscriptDurable set."""
    return _with_condition(around, status, ConditionType.TRANSCRIPT_DURABLE, value, reason, message, now)


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
    ready = around.session.status.condition(ConditionType.READY)
    known = ready is not None and ready.reason == reason
    return Step(status, notices=() if known else (Notice("Warning", reason, "Host", message),))
