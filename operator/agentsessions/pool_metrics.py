"""Prometheus metrics of pools, and the functions that move them; see `metrics`."""

from contextlib import suppress

from prometheus_client import Counter, Gauge

from agentsessions.api.pool import AgentPoolStatus
from agentsessions.api.rollout import PoolRolloutStatus
from agentsessions.metrics import REGISTRY

pool_hosts = Gauge(
    "agentsessions_pool_hosts", "Hosts of a pool by state.", ["namespace", "pool", "state"], registry=REGISTRY
)
pool_sessions = Gauge(
    "agentsessions_pool_sessions", "Sessions on the hosts of a pool.", ["namespace", "pool"], registry=REGISTRY
)
pool_capacity = Gauge(
    "agentsessions_pool_capacity_sessions",
    "Sessions that the ready hosts of a pool hold at most.",
    ["namespace", "pool"],
    registry=REGISTRY,
)
pool_rollouts = Counter(
    "agentsessions_pool_rollouts_total",
    "Changes of the settings of pools: completed on all hosts, or failed since a host did not become or stay ready.",
    ["outcome"],
    registry=REGISTRY,
)

for _end in ("completed", "failed"):
    pool_rollouts.labels(_end)


def seen(namespace: str, pool: str, status: AgentPoolStatus) -> None:
    """Say how a pool stands."""
    counts = {"desired": status.desired_replicas, "ready": status.ready_replicas, "updated": status.updated_replicas}
    for state, count in counts.items():
        pool_hosts.labels(namespace, pool, state).set(count)
    pool_sessions.labels(namespace, pool).set(status.sessions)
    pool_capacity.labels(namespace, pool).set(status.capacity.sessions if status.capacity else 0)


def rolled(before: PoolRolloutStatus | None, after: PoolRolloutStatus | None) -> None:
    """Count a rollout that has come to an end."""
    if before is None or after is None:
        return
    if after.failed_revision not in (None, before.failed_revision):
        pool_rollouts.labels("failed").inc()
    elif before.current_revision not in (None, after.current_revision):
        pool_rollouts.labels("completed").inc()


def gone(namespace: str, pool: str) -> None:
    """Forget a pool that is gone."""
    for state in ("desired", "ready", "updated"):
        with suppress(KeyError):
            pool_hosts.remove(namespace, pool, state)
    for gauge in (pool_sessions, pool_capacity):
        with suppress(KeyError):
            gauge.remove(namespace, pool)
