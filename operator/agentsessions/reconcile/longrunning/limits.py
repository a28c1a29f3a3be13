"""What the bounds of a conversation mean for its status: whoever has reached one says so and takes no message; pure."""

from datetime import datetime, timedelta

from agentsessions.api.bounds import OF_A_TURN, SessionLimits, explain, reached
from agentsessions.api.conditions import LIMITED, ConditionType, Reason, State
from agentsessions.api.host import HostSession
from agentsessions.api.status import AgentSessionStatus
from agentsessions.reconcile.longrunning.model import Around, Step
from agentsessions.reconcile.longrunning.rows import set_state
from agentsessions.reconcile.model import Notice

_WELL = frozenset({Reason.RUNNING, Reason.ASLEEP})
"""Reasons of Ready that a bound takes the place of; whatever else a session has to say comes first."""


def bounded(around: Around, status: AgentSessionStatus, limits: SessionLimits, now: datetime) -> AgentSessionStatus:
    """Return the status of a session that has reached a bound; of any other, as it is."""
    limit, ready = reached(limits, status.usage, now), status.condition(ConditionType.READY)
    if limit is None or ready is None or ready.reason not in _WELL:
        return status
    return set_state(around, State.BLOCKED, Reason(limit), explain(limit), now, onto=status)


def watched(around: Around, step: Step, limits: SessionLimits, now: datetime) -> Step:
    """Return the step with the event of a bound that is new, and another look when the session grows too old."""
    before = around.session.status.condition(ConditionType.READY)
    after = step.status.condition(ConditionType.READY)
    if after is not None and after.reason in LIMITED and (before is None or before.reason != after.reason):
        step = step.saying(Notice("Warning", after.reason, "Limit", after.message))
    left = limits.not_after - now if limits.not_after is not None else timedelta()
    return step.within(left) if left > timedelta() else step


def last_words(news: HostSession) -> str:
    """Return what to say of a last turn that ended at a bound; nothing of one that did not."""
    fault = news.fault
    return fault.message if fault is not None and fault.reason in OF_A_TURN else ""


def cut_short(before: AgentSessionStatus, after: AgentSessionStatus, news: HostSession) -> tuple[Notice, ...]:
    """Return the event that tells of a turn that ended at a bound, unless status says so already."""
    text = last_words(news)
    known, said = before.condition(ConditionType.READY), after.condition(ConditionType.READY)
    new = text and said is not None and text in said.message and (known is None or text not in known.message)
    return (Notice("Warning", news.fault.reason, "Turn", text),) if new and news.fault is not None else ()
