"""Brings what a host tells of a session into its status: never less than was there, and not too often; pure."""

from datetime import datetime, timedelta

from agentsessions.api.conditions import ConditionType
from agentsessions.api.host import HostSession
from agentsessions.api.status import AgentSessionStatus, Usage
from agentsessions.policies.spending import cost

INTERVAL = timedelta(seconds=60)
"""Figures alone are written no more often than this; a condition that changes is written at once, figures with it.

Only that a former turn is told of no more waits too.
"""

_RUNNING = frozenset({ConditionType.READY, ConditionType.ACTIVE})
"""The conditions of a session that runs; both have the same words."""


def with_figures(status: AgentSessionStatus, news: HostSession) -> AgentSessionStatus:
    """Return the status with usage, transcript and last activity as the host has them."""
    update = {
        "usage": most(status.usage, news.usage),
        "transcript": news.transcript or status.transcript,
        "last_activity_time": _latest(status.last_activity_time, news.last_activity_time),
    }
    return status.model_copy(update=update)


def with_last_words(status: AgentSessionStatus, news: HostSession) -> AgentSessionStatus:
    """Return the status with all that a host tells of a session that it lets go of: figures, and the archive."""
    return with_figures(status, news).model_copy(update={"archive": news.archive or status.archive})


def most(before: Usage | None, told: Usage) -> Usage | None:
    """Return the greater of each figure: a host that lost its files counts from nothing, the bill does not."""
    if before is None:
        return told if told != Usage() else None
    kinds = ("turns", "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
    update = {kind: max(getattr(before, kind), getattr(told, kind)) for kind in kinds}
    dearest = max(before, told, key=cost).cost_usd
    return Usage.model_validate(update | {"cost_usd": dearest})


def paced(
    before: AgentSessionStatus, after: AgentSessionStatus, written: datetime | None, now: datetime
) -> tuple[AgentSessionStatus, timedelta | None]:
    """Return what is to be written now, and how long what is held back has to wait."""
    if after == before or _but_what_waits(after) != _but_what_waits(before) or _is_louder(before, after):
        return after, None
    if before.transcript is None and after.transcript is not None:
        return after, None  # from now on nobody takes an empty store for a session that never spoke
    left = INTERVAL - (now - written) if written is not None else timedelta()
    return (after, None) if left <= timedelta() else (before, left)


def _but_what_waits(status: AgentSessionStatus) -> AgentSessionStatus:
    """Return a status without what changes all the time, and without the words of a session that runs."""
    conditions = [one.model_copy(update={"message": ""}) if one.type in _RUNNING else one for one in status.conditions]
    figures = {"usage": None, "transcript": None, "last_activity_time": None}
    return status.model_copy(update={"conditions": conditions} | figures)


def _is_louder(before: AgentSessionStatus, after: AgentSessionStatus) -> bool:
    """Return whether Ready says something new.

    That it has no more to say of an earlier turn waits with the figures: turns of which every other one reaches a bound
    would cost a write each.
    """
    said, says = before.condition(ConditionType.READY), after.condition(ConditionType.READY)
    return said is not None and says is not None and not said.message.startswith(says.message)


def _latest(before: datetime | None, told: datetime | None) -> datetime | None:
    """Return the later time, in whole seconds as Kubernetes objects have them."""
    known = [moment.replace(microsecond=0) for moment in (before, told) if moment is not None]
    return max(known, default=None)
