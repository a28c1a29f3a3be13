"""The conditions of a pool, kstatus-compatible as a session's are; pure."""

from collections.abc import Sequence
from datetime import datetime

from agentsessions.api.conditions import ConditionType, Reason, State, condition_for
from agentsessions.api.pool import AgentPoolStatus
from agentsessions.api.status import Condition, ConditionStatus
from agentsessions.reconcile.pools.model import PoolSeen

_ROWS: dict[State, dict[ConditionType, ConditionStatus]] = {
    State.RUNNING: {ConditionType.READY: "True"},
    State.PROGRESSING: {ConditionType.READY: "False", ConditionType.RECONCILING: "True"},
    State.BLOCKED: {ConditionType.READY: "False", ConditionType.STALLED: "True"},
}


def conditions(
    seen: PoolSeen,
    status: AgentPoolStatus,
    previous: Sequence[Condition],
    now: datetime,
    problem: tuple[Reason, str] | None = None,
) -> list[Condition]:
    """Return the pool's conditions: `problem` if there is one, else by what its hosts are up to."""
    state, reason, text = (State.BLOCKED, *problem) if problem else _standing(seen, status)
    return [
        condition_for(kind, value, reason, text, previous=previous, generation=seen.pool.metadata.generation, now=now)
        for kind, value in _ROWS[state].items()
    ]


def _standing(seen: PoolSeen, status: AgentPoolStatus) -> tuple[State, str, str]:
    """Return state, reason and message by the hosts."""
    wanted, ready = status.desired_replicas, status.ready_replicas
    if seen.trouble is not None and ready < wanted:
        return seen.trouble.state, seen.trouble.reason, seen.trouble.message
    if seen.not_durable and (status.updated_replicas < status.replicas or status.replicas > wanted):
        text = f"{seen.not_durable} conversations are not in the session store yet: no host is given up until then."
        return State.PROGRESSING, Reason.ROLLING_OUT, text
    if status.updated_replicas < min(wanted, status.replicas):
        return State.PROGRESSING, Reason.ROLLING_OUT, "Hosts are replaced one by one; each finishes its turns first."
    if ready == 0 and wanted > 0:
        return State.PROGRESSING, Reason.NO_READY_HOST, "No host is ready yet."
    if ready < wanted or status.replicas > wanted:
        return State.PROGRESSING, Reason.ROLLING_OUT, f"{ready} of {wanted} hosts are ready."
    return State.RUNNING, Reason.AVAILABLE, f"{ready} hosts take sessions."
