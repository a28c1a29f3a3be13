"""What the API server refuses beside a pod that is there: said by an event, tried again, no trouble of the session."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from agentsessions.api.names import LABEL_DISRUPTION
from agentsessions.kube.paths import EVENTS, NETWORK_POLICIES, SESSIONS
from unit import kubelet
from unit.hybrid import NAME, TIMEOUT, Stage, awake, make_nap
from unit.make import NAMESPACE
from unit.operator_at_work import start_world
from unit.situations import pod_of, ready

QUOTA = "exceeded quota: q, requested: count/poddisruptionbudgets.policy=1"


def never(on: Stage) -> None:
    """Its user wants it not to be evicted, and the namespace has no room for the budget that this takes."""
    on.world.refusals["POST poddisruptionbudgets"] = QUOTA
    on.world.edit(SESSIONS, NAME, disruption="Never")


def unmarked(on: Stage) -> None:
    """A policy of the cluster denies changes of its pod's labels."""
    on.world.refusals["PATCH pods"] = "admission webhook denied the request"
    on.world.edit(SESSIONS, NAME, disruption="Safe")


def unfenced(on: Stage) -> None:
    """Somebody took its NetworkPolicy away, and it may not be made again."""
    (policy,) = on.world.of(NETWORK_POLICIES)
    on.world.remove(NETWORK_POLICIES, NAMESPACE, policy["metadata"]["name"])
    on.world.refusals["POST networkpolicies"] = "forbidden"


REFUSALS = [pytest.param(one, id=one.__name__) for one in (never, unmarked, unfenced)]


@pytest.mark.requirement("K02")
@pytest.mark.parametrize("refuse", REFUSALS)
def test_a_session_stays_in_service_and_says_once_what_is_refused(refuse: Callable[[Stage], None]) -> None:
    on = awake(make_nap(idleTimeoutSeconds=7200))
    refuse(on)
    assert on.trouble(1800) <= 1, "the spec that was seen, and nothing of what is refused"
    assert on.says() == ("True", "Running")
    assert on.events() == ["ChangeRefused"]
    assert "refuses" in str(on.world.of(EVENTS)[0]["note"])
    on.world.refusals.clear()
    on.settle()
    assert on.look() == 0
    assert on.requeue is not None
    assert on.requeue > timedelta(minutes=5), "until it is idle"


@pytest.mark.parametrize("refuse", REFUSALS)
def test_it_falls_asleep_all_the_same(refuse: Callable[[Stage], None]) -> None:
    on = awake(make_nap())
    refuse(on)
    on.look()
    on.idle(TIMEOUT)
    on.look()
    assert on.hosts.asked == [False]
    on.stores()
    on.settle()
    assert on.says() == ("True", "Asleep")
    assert on.pods() == []


def test_what_is_refused_beside_the_pod_of_one_prompt_is_said_too() -> None:
    world, operator = start_world()
    operator.settle()
    world.set_pod(pod_of(world), kubelet.running())
    operator.settle()
    world.refusals["PATCH pods"] = "denied"
    world.edit(SESSIONS, "hello", disruption="Never")
    for _ in range(3):
        operator.look()
    assert ready(world) == ("True", "Running")
    assert [event["reason"] for event in world.of(EVENTS)] == ["ChangeRefused"]
    assert operator.requeue is not None
    world.refusals.clear()
    operator.look()
    assert pod_of(world)["metadata"]["labels"][LABEL_DISRUPTION] == "Never"
