"""How many hosts a pool should have, by the number of its sessions; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from agentsessions.api.pool import PoolAutoscaling


@dataclass(frozen=True, slots=True)
class Scale:
    """How many hosts there should be now, since when fewer would do, and when to look again."""

    replicas: int
    fewer_since: datetime | None = None
    requeue: timedelta | None = None


def wanted(rule: PoolAutoscaling, sessions: int, per_host: int) -> int:
    """Return the number of hosts that so many sessions need."""
    target = max(1, per_host * rule.target_utilization_percent)
    needed = -(-sessions * 100 // target)
    return min(max(needed, rule.min_replicas), rule.max_replicas)


def scale(
    rule: PoolAutoscaling,
    present: int,
    loads: Mapping[int, int],
    waiting: int,
    per_host: int,
    fewer_since: datetime | None,
    now: datetime,
) -> Scale:
    """Return the next number of hosts: up at once, down one by one, later, and only where nobody is disturbed.

    `loads` are the sessions on each host by its ordinal, as far as they are known; `waiting` those that have no host.
    """
    needed = wanted(rule, sum(loads.values()) + waiting, per_host)
    bounded = min(max(present, rule.min_replicas), rule.max_replicas)
    if needed >= bounded:
        return Scale(needed)
    if bounded < present:
        return Scale(bounded)
    since = fewer_since or now
    left = since + timedelta(seconds=rule.scale_down_delay_seconds) - now
    if left > timedelta():
        return Scale(present, since, left)
    # A StatefulSet removes the host with the highest number, so that is the one that must be empty.
    if loads.get(present - 1, 1) > 0:
        return Scale(present, since)
    return Scale(present - 1, now)
