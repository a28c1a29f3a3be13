"""What a pool's plan decides, row by row, and when an object that is there is as it should be."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.api.base import Json
from agentsessions.api.conditions import Reason, State
from agentsessions.api.config import OperatorConfig
from agentsessions.api.pool import AgentPool, AgentPoolStatus
from agentsessions.api.template import TemplateFields
from agentsessions.policies.facts import Ended
from agentsessions.policies.hosts import HostFacts
from agentsessions.policies.startup import Diagnosis
from agentsessions.reconcile.pools.loop import covers
from agentsessions.reconcile.pools.model import PoolPlan, PoolSeen
from agentsessions.reconcile.pools.plan import FIGURES, LOOK_AGAIN, make_plan
from unit.kstatus import kstatus
from unit.lasting import make_pool
from unit.make import CONFIG, NOW, later

GENERATION = 3
AUTOSCALED = {"autoscaling": {"maxReplicas": 4, "scaleDownDelaySeconds": 60}}


def seen(*hosts: HostFacts, status: AgentPoolStatus | None = None, **fields: Any) -> PoolSeen:
    """Return a pool with such hosts; fields that are none of what is seen belong to its spec."""
    about = {key: fields.pop(key) for key in list(fields) if key in PoolSeen.__dataclass_fields__}
    body = make_pool(**fields)
    pool = AgentPool.model_validate(body | {"metadata": body["metadata"] | {"generation": GENERATION}})
    if status is not None:
        pool = pool.model_copy(update={"status": status})
    return PoolSeen(pool, hosts=hosts, **about)


def planned(world: PoolSeen, config: OperatorConfig = CONFIG) -> PoolPlan:
    """Return the plan for it."""
    return make_plan(world, NOW, config)


def host(number: int = 0, *, current: bool = True, ready: bool = True, deleting: bool = False) -> HostFacts:
    """Return a host of a pool of the smallest spec."""
    made = planned(seen()).status.template_hash or ""
    found = HostFacts(f"chat-{number}", f"uid-{number}", "10.0.0.7", node=f"n{number}", ready=ready, deleting=deleting)
    return replace(found, template_hash=made if current else "old")


def ready(plan: PoolPlan) -> tuple[str, str]:
    """Return status and reason of Ready."""
    found = plan.status.condition("Ready")
    assert found is not None
    return found.status, found.reason


def says(plan: PoolPlan) -> str:
    """Return what kstatus makes of the status that is planned."""
    return kstatus({"metadata": {"generation": GENERATION}, "status": plan.status.to_json()})


TROUBLE = Diagnosis(State.BLOCKED, Reason.IMAGE_PULL_FAILED, "no such image")
SLOW = Diagnosis(State.PROGRESSING, Reason.UNSCHEDULABLE, "no node has room")
LOOPS = Diagnosis(State.PROGRESSING, Reason.AGENT_FAILED, "it ends again and again")


def looping(times: int, *others: HostFacts, ago: float = 20, ready: bool = False, **fields: Any) -> PoolSeen:
    """Return a pool whose first host has ended so often, last so many seconds ago, after ten seconds."""
    end = Ended(1, "Error", "", later(-ago), later(-ago - 10))
    return seen(replace(host(ready=ready), ends=times, last_end=end, unready_since=later(-ago)), *others, **fields)


ROWS = [
    pytest.param(seen(host()), ("True", "Available"), "Current", id="all-there"),
    pytest.param(seen(replicas=0), ("True", "Available"), "Current", id="none-wanted"),
    pytest.param(seen(), ("False", "NoReadyHost"), "InProgress", id="none-yet"),
    pytest.param(seen(host(ready=False)), ("False", "NoReadyHost"), "InProgress", id="not-ready"),
    pytest.param(seen(host(deleting=True)), ("False", "NoReadyHost"), "InProgress", id="the-only-one-drains"),
    pytest.param(seen(host(), replicas=2), ("False", "RollingOut"), "InProgress", id="one-missing"),
    pytest.param(seen(host(), host(1)), ("False", "RollingOut"), "InProgress", id="one-too-many"),
    pytest.param(seen(host(current=False)), ("False", "RollingOut"), "InProgress", id="of-older-settings"),
    pytest.param(seen(host(ready=False), trouble=TROUBLE), ("False", "ImagePullFailed"), "Failed", id="blocked"),
    pytest.param(seen(host(ready=False), trouble=SLOW), ("False", "Unschedulable"), "InProgress", id="waits"),
    pytest.param(seen(host(), trouble=TROUBLE), ("True", "Available"), "Current", id="trouble-that-is-over"),
    pytest.param(seen(hostMemory="1Mi"), ("False", "InvalidSpec"), "Failed", id="holds-no-session"),
    pytest.param(seen(template_problem="gone"), ("False", "TemplateNotFound"), "Failed", id="no-template"),
]


LOOPING = [
    pytest.param(looping(2, trouble=LOOPS), ("False", "AgentFailed"), "InProgress", id="ends-again"),
    pytest.param(looping(3, trouble=LOOPS), ("False", "AgentFailed"), "Failed", id="ends-again-and-again"),
    pytest.param(looping(3), ("False", "AgentFailed"), "Failed", id="and-runs-for-a-moment"),
    pytest.param(looping(3, ready=True), ("False", "AgentFailed"), "Failed", id="and-is-ready-for-a-moment"),
    pytest.param(looping(3, ready=True, ago=60), ("True", "Available"), "Current", id="has-ended-often"),
    pytest.param(looping(3, ago=3600), ("False", "NoReadyHost"), "InProgress", id="ended-long-ago"),
    pytest.param(
        looping(3, host(1), replicas=2, trouble=LOOPS), ("False", "AgentFailed"), "InProgress", id="one-of-two-does"
    ),
]
"""How these stand is a matter of when their hosts ended."""


@pytest.mark.requirement("K04")
@pytest.mark.parametrize(("world", "expected", "status"), [*ROWS, *LOOPING])
def test_each_row_says_what_is_so_and_kstatus_reads_it(world: PoolSeen, expected: tuple[str, str], status: str) -> None:
    plan = planned(world)
    assert (ready(plan), says(plan)) == (expected, status)
    assert plan.status.observed_generation == GENERATION
    kinds = [str(condition.type) for condition in plan.status.conditions]
    assert len(set(kinds)) == len(kinds)
    assert all(condition.message for condition in plan.status.conditions)


@pytest.mark.parametrize(
    ("world", "passed"), [*((row.values[0], 3600) for row in ROWS), *((row.values[0], 1) for row in LOOPING)]
)
def test_a_plan_that_was_carried_out_is_followed_by_the_same_one(world: PoolSeen, passed: float) -> None:
    first = planned(world)
    second = make_plan(
        replace(world, pool=world.pool.model_copy(update={"status": first.status})), later(passed), CONFIG
    )
    assert second == first


def test_without_a_model_endpoint_the_pool_says_what_to_set() -> None:
    plan = planned(seen(), OperatorConfig())
    (found,) = [condition for condition in plan.status.conditions if condition.type == "Stalled"]
    assert "`modelEndpoint.baseUrl`" in found.message
    assert plan.children == ()


def test_the_template_fills_in_what_the_defaults_leave_open() -> None:
    template = TemplateFields.model_validate({"modelEndpoint": {"baseUrl": "http://own.test"}})
    plan = make_plan(seen(template=template), NOW, OperatorConfig())
    assert plan.children


def test_a_pool_that_cannot_go_on_keeps_what_is_known_of_its_hosts() -> None:
    before = planned(seen(host())).status
    stalled = planned(seen(host(), status=before, hostMemory="1Mi"))
    assert stalled.status.hosts == before.hosts
    assert stalled.children == (), "what is there goes on as it is"
    assert stalled.requeue == LOOK_AGAIN


def test_children_come_in_the_order_in_which_they_need_each_other() -> None:
    kinds = [child["kind"] for child in planned(seen()).children]
    assert kinds == ["NetworkPolicy", "Secret", "Service", "PodDisruptionBudget", "StatefulSet"]


def test_hosts_carry_the_label_that_their_network_policy_selects() -> None:
    policy, secret, _, _, hosts = planned(seen()).children
    template = hosts["spec"]["template"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    mounted = [volume["secret"]["secretName"] for volume in template["spec"]["volumes"] if "secret" in volume]
    assert mounted == [secret["metadata"]["name"]]


def test_the_figures_add_up() -> None:
    world = seen(
        host(0), host(1), host(2, ready=False), loads={"chat-0": 3, "chat-1": 1}, replicas=3, sessionsPerHost=4
    )
    status = planned(world).status
    assert (status.replicas, status.ready_replicas, status.desired_replicas) == (3, 2, 3)
    assert (status.sessions, [one.sessions for one in status.hosts]) == (4, [3, 1, 0])
    assert status.capacity is not None
    assert (status.capacity.sessions_per_host, status.capacity.sessions) == (4, 8)
    assert [(one.name, one.node, one.ready) for one in status.hosts][2] == ("chat-2", "n2", False)


def test_a_host_that_drains_counts_neither_as_ready_nor_as_room() -> None:
    status = planned(seen(host(0), host(1, deleting=True), replicas=2)).status
    assert (status.replicas, status.ready_replicas) == (2, 1)
    assert status.capacity is not None
    assert status.capacity.sessions == status.capacity.sessions_per_host
    assert [one.ready for one in status.hosts] == [True, False]


def test_the_selector_in_status_is_one_that_an_autoscaler_can_use() -> None:
    plan = planned(seen())
    labels = plan.children[-1]["spec"]["selector"]["matchLabels"]
    assert dict(part.split("=") for part in plan.status.selector.split(",")) == labels


def test_with_autoscaling_the_number_in_the_spec_does_not_count() -> None:
    there = {"spec": {"replicas": 2}}
    heard = frozenset({"chat-0", "chat-1"})
    world = seen(
        host(0), host(1), stateful_set=there, heard=heard, loads={"chat-0": 10, "chat-1": 10}, replicas=9, **AUTOSCALED
    )
    assert planned(world).status.desired_replicas == 3


def test_autoscaling_begins_with_the_fewest() -> None:
    assert planned(seen(replicas=9, **AUTOSCALED)).status.desired_replicas == 1


def test_sessions_that_wait_bring_hosts() -> None:
    world = seen(host(), stateful_set={"spec": {"replicas": 1}}, heard=frozenset({"chat-0"}), waiting=9, **AUTOSCALED)
    assert planned(world).status.desired_replicas == 2


def test_a_host_that_does_not_tell_is_not_taken_for_empty() -> None:
    there, long_ago = {"spec": {"replicas": 2}}, AgentPoolStatus(fewer_since=later(-9999))
    silent = seen(host(0), host(1), stateful_set=there, heard=frozenset({"chat-0"}), status=long_ago, **AUTOSCALED)
    assert planned(silent).status.desired_replicas == 2
    telling = replace(silent, heard=frozenset({"chat-0", "chat-1"}))
    assert planned(telling).status.desired_replicas == 1


def test_fewer_hosts_are_put_off_and_looked_at_again_when_they_are_due() -> None:
    heard = frozenset({"chat-0", "chat-1"})
    plan = planned(seen(host(0), host(1), stateful_set={"spec": {"replicas": 2}}, heard=heard, **AUTOSCALED))
    assert (plan.status.desired_replicas, plan.status.fewer_since) == (2, NOW)
    assert plan.requeue == timedelta(seconds=60)


@given(st.integers(0, 59))
def test_figures_that_are_held_back_come_when_a_minute_is_over(passed: int) -> None:
    before = planned(seen(host())).status
    world = seen(host(), status=before, loads={"chat-0": 2}, written=NOW)
    held = make_plan(world, later(passed), CONFIG)
    assert held.status == before
    assert held.requeue == min(LOOK_AGAIN, FIGURES - timedelta(seconds=passed))
    assert held.children, "children are set right all the same"


def test_anything_but_figures_is_written_at_once() -> None:
    before = planned(seen(host())).status
    world = seen(host(ready=False), status=before, loads={"chat-0": 2}, written=NOW)
    assert make_plan(world, NOW, CONFIG).status.sessions == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_everything_covers_itself(value: Any) -> None:
    assert covers(value, value)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4), st.dictionaries(st.text(max_size=4), JSON, max_size=4))
def test_what_others_add_does_not_matter_and_what_is_missing_does(present: Json, wanted: Json) -> None:
    assert covers(present | wanted, wanted)
    missing = {key: value for key, value in wanted.items() if value not in ("", None)}
    for key in missing:
        rest = {name: value for name, value in (present | wanted).items() if name != key}
        assert not covers(rest, wanted)


@pytest.mark.parametrize(
    ("present", "wanted", "same"),
    [
        pytest.param({"limits": {"memory": "1Gi"}}, {"limits": {"memory": "1024Mi"}}, True, id="quantity-rewritten"),
        pytest.param({"limits": {"memory": "1Gi"}}, {"limits": {"memory": "1025Mi"}}, False, id="quantity-differs"),
        pytest.param({"requests": {"cpu": "250m"}}, {"requests": {"cpu": "0.25"}}, True, id="cpu"),
        pytest.param({"emptyDir": {"sizeLimit": "1Gi"}}, {"emptyDir": {"sizeLimit": "1024Mi"}}, True, id="emptyDir"),
        pytest.param({"value": "1Gi"}, {"value": "1024Mi"}, False, id="a-text-is-no-quantity"),
        pytest.param({"limits": {"memory": "x"}}, {"limits": {"memory": "x"}}, True, id="no-quantity-at-all"),
        pytest.param({"env": [{"name": "A"}]}, {"env": [{"name": "A", "value": ""}]}, True, id="empty-is-left-out"),
        pytest.param(
            {"env": [{"name": "A", "value": "x"}]}, {"env": [{"name": "A", "value": ""}]}, False, id="not-empty"
        ),
        pytest.param({"a": [1, 2]}, {"a": [1]}, False, id="a-list-is-whole"),
        pytest.param({"a": [1]}, {"a": [1, 2]}, False, id="a-list-is-whole-2"),
        pytest.param({"a": [2, 1]}, {"a": [1, 2]}, False, id="a-list-has-an-order"),
        pytest.param({"ports": [{"port": 1, "nodePort": 9}]}, {"ports": [{"port": 1}]}, True, id="added-inside-a-list"),
        pytest.param({"a": "x"}, {"a": {"b": 1}}, False, id="not-an-object"),
        pytest.param({}, {"replicas": 0}, False, id="nought-is-something"),
        pytest.param({}, {"automountServiceAccountToken": False}, False, id="no-is-something"),
    ],
)
def test_what_counts_as_the_same(present: Json, wanted: Json, same: bool) -> None:
    assert covers(present, wanted) is same


def test_children_as_the_api_server_returns_them_are_left_alone() -> None:
    *_, made = planned(seen(template=TemplateFields.model_validate({"workspace": {"storage": "1024Mi"}}))).children
    returned = {**made, "metadata": made["metadata"] | {"uid": "u", "managedFields": []}, "status": {"replicas": 1}}
    assert covers(returned, made)
    loose = {**made, "spec": made["spec"] | {"template": {**made["spec"]["template"], "spec": {}}}}
    assert not covers(loose, made)
