"""What to do about a pool: pure. The same world gives the same plan."""

from dataclasses import replace
from datetime import datetime, timedelta

from agentsessions.api.base import Json
from agentsessions.api.conditions import Reason
from agentsessions.api.config import OperatorConfig
from agentsessions.api.pool import AgentPoolStatus, PoolCapacity, PoolHost
from agentsessions.builders.networkpolicy import network_policy, policy_label
from agentsessions.builders.pool.hosts import hosts
from agentsessions.builders.pool.meta import selector
from agentsessions.builders.pool.neighbours import disruption_budget, headless_service
from agentsessions.builders.pool.secret import host_secret
from agentsessions.policies.autoscale import Scale, scale
from agentsessions.policies.capacity import HostSize, host_size
from agentsessions.policies.nodeloss import is_lost
from agentsessions.policies.resolve import Settings, resolve
from agentsessions.reconcile.pools.model import PoolPlan, PoolSeen
from agentsessions.reconcile.pools.rollout import Course, held, roll, template_hash
from agentsessions.reconcile.pools.rows import conditions

LOOK_AGAIN = timedelta(seconds=30)
SOON = timedelta(seconds=2)
FIGURES = timedelta(seconds=60)
"""Figures alone are written no more often than this."""


_NOT_YET = frozenset({"PodDisruptionBudget", "StatefulSet"})
"""Kinds of children that are left as they are until hosts are heard, and until status says what there was before."""


def make_plan(seen: PoolSeen, now: datetime, config: OperatorConfig) -> PoolPlan:
    """Return what to do about the pool."""
    if seen.template_problem:
        return _blocked(seen, Reason.TEMPLATE_NOT_FOUND, seen.template_problem, now)
    settings = resolve_pool(seen, config)
    endpoint = settings.fields.model_endpoint
    if endpoint is None or not endpoint.base_url:
        text = "`modelEndpoint.baseUrl` must be set in the pool's AgentTemplate or in the chart's `defaults`."
        return _blocked(seen, Reason.INVALID_SPEC, text, now)
    try:
        size = host_size(seen.pool.spec)
    except ValueError as error:
        return _blocked(seen, Reason.INVALID_SPEC, str(error), now)
    scaled = replicas(seen, size, now)
    *beside, wanted = _children(seen, settings, size, scaled.replicas, config)
    course = roll(seen, wanted, now)
    made = _held(seen, course.made) if seen.not_durable else course.made
    status = _status(seen, size, scaled, course, now)
    # Two hosts on one volume are kept apart by nothing but the first one's end.
    alone = settings.storage is None or settings.fields.session_store is not None
    lost = tuple(host for host in seen.hosts if alone and is_lost(host, now))
    wait = min(one for one in (scaled.requeue or LOOK_AGAIN, course.left) if one is not None)
    plan = _paced(seen, PoolPlan(status, (*beside, made), wait, lost, course.notices), now)
    return _not_yet(plan) if seen.waits_for_news or course.first_written else plan


def _not_yet(plan: PoolPlan) -> PoolPlan:
    """Leave budget and hosts as they are for now."""
    rest = tuple(child for child in plan.children if child["kind"] not in _NOT_YET)
    return replace(plan, children=rest, requeue=SOON)


def resolve_pool(seen: PoolSeen, config: OperatorConfig) -> Settings:
    """Return what the pool's hosts run with."""
    template = seen.template
    # A level of its own for the pool would be an empty one: it has no template fields.
    return resolve(type(config.defaults)(), template, config.defaults, template_name=seen.template_name)


def replicas(seen: PoolSeen, size: HostSize, now: datetime) -> Scale:
    """Return how many hosts there should be."""
    rule, spec = seen.pool.spec.autoscaling, seen.pool.spec
    if rule is None:
        return Scale(spec.replicas)
    present = _present(seen, rule.min_replicas)
    # Of a host that serves and does not tell, nobody knows what it holds.
    known = [host for host in seen.hosts if host.name in seen.heard or not host.ready]
    loads = {host.ordinal: seen.loads.get(host.name, 0) for host in known}
    return scale(rule, present, loads, seen.waiting, _per_host(seen, size), seen.pool.status.fewer_since, now)


def _per_host(seen: PoolSeen, size: HostSize) -> int:
    """Return how many sessions a host holds: by the spec, or on the average as hosts say that keep former settings."""
    told, rollout = seen.capacities.values(), seen.pool.status.rollout
    keeps = seen.pool.spec.rolling.paused or (rollout is not None and rollout.failed_revision is not None)
    return sum(told) // len(told) if keeps and told else size.sessions


def _present(seen: PoolSeen, otherwise: int) -> int:
    """Return how many hosts the StatefulSet asks for, or what to take it for while there is none."""
    return int((seen.stateful_set or {}).get("spec", {}).get("replicas", otherwise))


def _children(
    seen: PoolSeen, settings: Settings, size: HostSize, count: int, config: OperatorConfig
) -> tuple[Json, ...]:
    """Return the children in the order in which they need each other, the hosts last."""
    pool = seen.pool
    policy = network_policy(pool.metadata.namespace, settings, config, hosts=True)
    secret = host_secret(pool, settings, size, config)
    name = secret["metadata"]["name"]
    made = hosts(pool, settings, size, count, name, policy_label(policy), config)
    budget = disruption_budget(pool, settings.disruption, held=bool(seen.not_durable))
    return policy, secret, headless_service(pool), budget, made


def _held(seen: PoolSeen, made: Json) -> Json:
    """Return the StatefulSet that gives no host up on purpose: what is on their disks is nowhere else."""
    count = max(made["spec"]["replicas"], _present(seen, 0))
    return held(made | {"spec": made["spec"] | {"replicas": count}}, count)


def _status(seen: PoolSeen, size: HostSize, scaled: Scale, course: Course, now: datetime) -> AgentPoolStatus:
    """Return the status that holds once the children are as they should be."""
    current = template_hash(course.made["spec"]["template"])
    ready = [host for host in seen.hosts if host.ready and not host.deleting]
    updated = [host for host in seen.hosts if host.template_hash == current]
    before, per_host = seen.pool.status, _per_host(seen, size)
    fits = sum(seen.capacities.get(host.name, per_host) for host in ready)
    status = AgentPoolStatus(
        observed_generation=seen.pool.metadata.generation,
        replicas=len(seen.hosts),
        ready_replicas=len(ready),
        desired_replicas=scaled.replicas,
        updated_replicas=len(updated),
        selector=",".join(f"{key}={value}" for key, value in sorted(selector(seen.pool).items())),
        sessions=sum(seen.loads.values()),
        capacity=PoolCapacity(sessions_per_host=per_host, host_memory=size.memory, sessions=fits),
        hosts=[
            PoolHost(
                name=host.name,
                pod_uid=host.uid,
                node=host.node,
                ready=host in ready,
                sessions=seen.loads.get(host.name, 0),
            )
            for host in seen.hosts
        ],
        template_hash=current,
        rollout=course.status,
        fewer_since=scaled.fewer_since,
    )
    return status.model_copy(update={"conditions": conditions(seen, status, before.conditions, now)})


def _blocked(seen: PoolSeen, reason: Reason, message: str, now: datetime) -> PoolPlan:
    """Say what only a person can mend; hosts that there are go on as they are."""
    status = seen.pool.status.model_copy(
        update={
            "conditions": conditions(seen, seen.pool.status, seen.pool.status.conditions, now, (reason, message)),
            "observed_generation": seen.pool.metadata.generation,
        }
    )
    return PoolPlan(status, requeue=LOOK_AGAIN)


def _paced(seen: PoolSeen, plan: PoolPlan, now: datetime) -> PoolPlan:
    """Hold back a status that differs in figures alone, if the last one is not old enough."""
    before = seen.pool.status
    if seen.written is None or _but_figures(before) != _but_figures(plan.status):
        return plan
    left = FIGURES - (now - seen.written)
    if before == plan.status or left <= timedelta():
        return plan
    return replace(plan, status=before, requeue=min(left, plan.requeue or left))


def _but_figures(status: AgentPoolStatus) -> AgentPoolStatus:
    """Return a status without what changes with every session."""
    hosts_only = [host.model_copy(update={"sessions": 0}) for host in status.hosts]
    return status.model_copy(update={"sessions": 0, "hosts": hosts_only})
