"""The conditions of a pool, kstatus-compatible as a session's are; pure."""

from collections.abc import Sequence
from datetime import datetime

from agentsessions.api.conditions import ConditionType, Reason, State, condition_for
from agentsessions.api.pool import AgentPoolStatus
from agentsessions.api.status import Condition, ConditionStatus
from agentsessions.reconcile.pools.model import PoolSeen
from agentsessions.reconcile.pools.rollout import failure, never_serves

Row = tuple[ConditionType, ConditionStatus, str, str]
"""Type, status, reason and message of a condition."""

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
    state, reason, text = (State.BLOCKED, *problem) if problem else _standing(seen, status, now)
    rows: list[Row] = [(kind, value, reason, text) for kind, value in _ROWS[state].items()]
    if problem is None:
        rows += _of_the_rollout(seen, status, state)
    generation = seen.pool.metadata.generation
    return [
        condition_for(kind, value, why, words, previous=previous, generation=generation, now=now)
        for kind, value, why, words in rows
    ]


def _of_the_rollout(seen: PoolSeen, status: AgentPoolStatus, state: State) -> list[Row]:
    """Return what there is to say of a rollout that does not go on; one that failed is Stalled though hosts serve."""
    rollout = status.rollout
    if rollout is not None and rollout.failed_revision is not None:
        reason, text = failure(rollout, status.template_hash or "")
        stalled: list[Row] = [(ConditionType.STALLED, "True", reason, text)] if state is State.RUNNING else []
        return [(ConditionType.PROGRESSING, "False", reason, text), *stalled]
    if _is_paused(seen, status):
        text = "The rollout is paused (`rollout.paused`): hosts stay as they are."
        return [(ConditionType.PROGRESSING, "Unknown", Reason.ROLLOUT_PAUSED, text)]
    return []


def _standing(seen: PoolSeen, status: AgentPoolStatus, now: datetime) -> tuple[State, str, str]:
    """Return state, reason and message by the hosts."""
    wanted, ready = status.desired_replicas, status.ready_replicas
    if seen.hosts and all(never_serves(seen, one, now) for one in seen.hosts):
        # Also in the moments in which one of them runs: only a person ends that.
        text = f"Hosts end again and again, and none serves: see the log of '{seen.hosts[0].name}'."
        return State.BLOCKED, Reason.AGENT_FAILED, text
    if seen.trouble is not None and ready < wanted:
        return seen.trouble.state, seen.trouble.reason, seen.trouble.message
    if status.rollout is not None and _is_held(status) and ready < wanted:
        return State.BLOCKED, *failure(status.rollout, status.template_hash or "")
    rolls = not _is_held(status) and not _is_paused(seen, status)
    if seen.not_durable and ((rolls and status.updated_replicas < status.replicas) or status.replicas > wanted):
        text = f"{seen.not_durable} conversations are not in the session store yet: no host is given up until then."
        return State.PROGRESSING, Reason.ROLLING_OUT, text
    if rolls and status.updated_replicas < min(wanted, status.replicas):
        return State.PROGRESSING, Reason.ROLLING_OUT, "Hosts are replaced; each finishes its turns first."
    if ready == 0 and wanted > 0:
        return State.PROGRESSING, Reason.NO_READY_HOST, "No host is ready yet."
    if ready < wanted or status.replicas > wanted:
        return State.PROGRESSING, Reason.ROLLING_OUT, f"{ready} of {wanted} hosts are ready."
    return State.RUNNING, Reason.AVAILABLE, f"{ready} hosts take sessions."


def _is_held(status: AgentPoolStatus) -> bool:
    """Return whether a rollout that failed was left where it was."""
    failed = status.rollout.failed_revision if status.rollout else None
    return failed is not None and failed == status.template_hash


def _is_paused(seen: PoolSeen, status: AgentPoolStatus) -> bool:
    """Return whether a pause keeps hosts from settings that there are for them."""
    return seen.pool.spec.rolling.paused and status.updated_replicas < status.replicas
