"""What a pool's plan makes: what rolls its hosts and what does not, and what its conditions say."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agentsessions.api.base import Json
from agentsessions.api.pool import AgentPool
from agentsessions.policies.hosts import HostFacts
from agentsessions.reconcile.pools.model import PoolPlan, PoolSeen
from agentsessions.reconcile.pools.plan import make_plan
from unit.lasting import make_pool
from unit.make import CONFIG, NOW, later


def plan(hosts: tuple[HostFacts, ...] = (), **spec: Any) -> PoolPlan:
    """Return the plan for a pool with such a spec and hosts."""
    return make_plan(PoolSeen(AgentPool.model_validate(make_pool(**spec)), hosts=hosts), NOW, CONFIG)


def template(made: PoolPlan) -> Json:
    """Return the pod template of the plan's StatefulSet."""
    found: Json = made.children[-1]["spec"]["template"]
    return found


def ready(made: PoolPlan) -> dict[str, tuple[str, str]]:
    """Return status and reason by condition."""
    return {str(c.type): (c.status, str(c.reason)) for c in made.status.conditions}


def test_another_number_of_hosts_rolls_none() -> None:
    one, three = plan(replicas=1), plan(replicas=3)
    assert three.children[-1]["spec"]["replicas"] == 3
    assert template(one) == template(three)


@pytest.mark.parametrize("changed", [{"maxQueuedMessages": 3}, {"sessionsPerHost": 7}, {"implicitSessions": True}])
def test_what_hosts_are_told_rolls_them(changed: dict[str, Any]) -> None:
    assert template(plan()) != template(plan(**changed))


def test_a_host_that_was_lost_with_its_node_is_given_up_once_nobody_can_say_that_it_ended() -> None:
    gone_by = NOW - timedelta(seconds=29)
    host = HostFacts("chat-0", "uid-0", deleting=True, gone_by=gone_by)
    other = HostFacts("chat-1", "uid-1", ready=True)
    assert plan((host, other)).lost == ()
    late = replace(host, gone_by=gone_by - timedelta(seconds=1))
    assert plan((late, other)).lost == (late,)


def test_the_host_runs_as_locked_down_as_a_session_and_has_time_to_drain() -> None:
    spec = template(plan(drainSeconds=50))["spec"]
    (container,) = spec["containers"]
    assert spec["terminationGracePeriodSeconds"] == 80
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.requirement("H36")
def test_a_host_that_holds_no_session_stalls_the_pool_and_nothing_is_made() -> None:
    made = plan(hostMemory="256Mi")
    assert made.children == ()
    assert ready(made) == {"Ready": ("False", "InvalidSpec"), "Stalled": ("True", "InvalidSpec")}


def test_hosts_that_are_ready_make_the_pool_ready() -> None:
    current = template(plan())["metadata"]["annotations"].popitem()[1]
    host = HostFacts("h-0", "u", "10.0.0.1", ready=True, template_hash=current)
    assert ready(plan((host,))) == {"Ready": ("True", "Available")}
    assert ready(plan())["Ready"] == ("False", "NoReadyHost")
    old = HostFacts("h-0", "u", "10.0.0.1", ready=True, template_hash="old")
    assert ready(plan((old,)))["Reconciling"] == ("True", "RollingOut")


@pytest.mark.requirement("H30", "H36")
def test_no_host_is_given_up_while_a_conversation_is_on_its_disk_only() -> None:
    pool = AgentPool.model_validate(make_pool(replicas=1))
    hosts = tuple(HostFacts(f"h-{n}", f"u{n}", "10.0.0.1", ready=True, template_hash="old") for n in range(3))
    stateful_set = {"spec": {"replicas": 3}}
    held = make_plan(PoolSeen(pool, hosts=hosts, stateful_set=stateful_set, not_durable=2), NOW, CONFIG)
    *_, budget, made = held.children
    assert (made["spec"]["replicas"], made["spec"]["updateStrategy"]["rollingUpdate"]) == (3, {"partition": 3})
    assert budget["spec"]["maxUnavailable"] == 0
    assert "2 conversations" in held.status.conditions[0].message
    *_, budget, made = make_plan(PoolSeen(pool, hosts=hosts, stateful_set=stateful_set), NOW, CONFIG).children
    assert (made["spec"]["replicas"], made["spec"]["updateStrategy"]["rollingUpdate"]) == (1, {"partition": 0})
    assert budget["spec"]["maxUnavailable"] == 1


def test_figures_alone_are_written_at_most_once_a_minute() -> None:
    pool = AgentPool.model_validate(make_pool())
    host = HostFacts("h-0", "u", "10.0.0.1", ready=True)
    before = make_plan(PoolSeen(pool, hosts=(host,)), NOW, CONFIG).status
    pool = pool.model_copy(update={"status": before})
    seen = PoolSeen(pool, hosts=(host,), loads={"h-0": 1}, written=NOW)
    assert make_plan(seen, later(59), CONFIG).status == before
    assert make_plan(seen, later(60), CONFIG).status.sessions == 1
