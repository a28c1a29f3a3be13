"""Brings what a host tells of a session into its status: never less than was there, and not too often; pure."""

from datetime import datetime, timedelta

from agentsessions.api.host import HostSession
from agentsessions.api.status import AgentSessionStatus, Usage
from agentsessions.policies.spending import cost

INTERVAL = timedelta(seconds=60)
"""Figures alone are written no more often than this; a condition that changes is written at once, figures with it."""


def with_figures(status: AgentSessionStatus, news: HostSession) -> AgentSessionStatus:
    """Return the status with usage, transcript and last activity as the host has them."""
    update = {
        "usage": most(status.usage, news.usage),
        "transcript": news.transcript or status.transcript,
        "last_activity_time": _latest(status.last_activity_time, news.last_activity_time),
    }
    return status.model_copy(update=update)


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
    if after == before or after.conditions != before.conditions or _but_figures(after) != _but_figures(before):
        return after, None
    if before.transcript is None and after.transcript is not None:
        return after, None  # from now on nobody takes an empty store for a session that never spoke
    left = INTERVAL - (now - written) if written is not None else timedelta()
    return (after, None) if left <= timedelta() else (before, left)


def _but_figures(status: AgentSessionStatus) -> AgentSessionStatus:
    """Return a status without what changes all the time."""
    return status.model_copy(update={"usage": None, "transcript": None, "last_activity_time": None})


def _latest(before: datetime | None, told: datetime | None) -> datetime | None:
    """Return the later time, in whole seconds as Kubernetes objects have them."""
    known = [moment.replace(microsecond=0) for moment in (before, told) if moment is not None]
    return max(known, default=None)
