"""Shared policies, refusals and events: what others do does not hide what the session does."""

from datetime import timedelta

import pytest

from agentsessions.api.base import Json
from agentsessions.api.status import Host
from agentsessions.kube.errors import NotFound
from agentsessions.kube.paths import EVENTS, NETWORK_POLICIES, SESSIONS
from unit import kubelet
from unit.make import NAMESPACE, make_session
from unit.operator_at_work import start_world
from unit.situations import DONE, pod_of, ready
from unit.world import Request


def test_a_policy_that_somebody_changed_is_set_right_while_the_agent_runs() -> None:
    world, operator = start_world()
    operator.settle()
    world.set_pod(pod_of(world), kubelet.running())
    operator.settle()
    (policy,) = world.of(NETWORK_POLICIES)
    world.edit(NETWORK_POLICIES, policy["metadata"]["name"], egress=[{}])
    operator.settle()
    assert world.of(NETWORK_POLICIES)[0]["spec"] == policy["spec"]


def test_a_policy_that_somebody_removed_comes_back_while_the_agent_runs() -> None:
    world, operator = start_world()
    operator.settle()
    world.set_pod(pod_of(world), kubelet.running())
    operator.settle()
    (policy,) = world.of(NETWORK_POLICIES)
    world.remove(NETWORK_POLICIES, NAMESPACE, policy["metadata"]["name"])
    operator.settle()
    assert world.of(NETWORK_POLICIES)[0]["spec"] == policy["spec"]


@pytest.mark.parametrize(
    "egress",
    [
        pytest.param([], id="nothing"),
        pytest.param([{"podLabels": {}, "port": 80}], id="all-pods-around"),
        pytest.param([{"cidr": "10.0.0.0/8", "port": 80}, {"namespace": "n", "port": 1}], id="some"),
    ],
)
def test_a_policy_comes_back_from_the_api_server_as_it_was_meant(egress: list[Json]) -> None:
    """Else it would be written again at every look."""
    world, operator = start_world(make_session().with_spec(network_policy={"egress": egress}))
    operator.settle()
    world.set_pod(pod_of(world), kubelet.running())
    operator.settle()
    assert [r.verb for r in world.writes() if r.plural == "networkpolicies"] == ["POST"]


def test_a_policy_that_may_not_be_mended_does_not_hide_that_the_agent_runs() -> None:
    world, operator = start_world()
    operator.settle()
    world.set_pod(pod_of(world), kubelet.running())
    world.remove(NETWORK_POLICIES, NAMESPACE, world.of(NETWORK_POLICIES)[0]["metadata"]["name"])
    world.refusals["networkpolicies"] = "quota"
    operator.look()
    assert ready(world) == ("True", "Running")
    assert world.session().status.host is not None
    assert operator.requeue is not None


def test_pods_that_may_not_be_deleted_do_not_keep_anything_from_being_recorded() -> None:
    world, operator = start_world()
    operator.settle()
    world.set_pod(pod_of(world), kubelet.drained())
    world.now += timedelta(seconds=5)
    world.refusals["DELETE pods"] = "deletion is denied"
    operator.look()
    operator.look()
    _, second = world.pods()
    assert ready(world) == ("False", "Starting")
    assert world.session().status.host == Host(pod=second["metadata"]["name"], pod_uid=second["metadata"]["uid"])
    world.set_pod(second, kubelet.ended(0, message=DONE))
    operator.look()
    assert ready(world) == ("True", "Completed")
    assert operator.requeue is not None
    world.refusals.clear()
    operator.settle()
    assert list(world.pods()) == []


def test_events_that_cannot_be_posted_do_not_matter() -> None:
    world, operator = start_world(make_session().with_template("none"))
    world.refusals["events"] = "no"
    operator.settle()
    assert ready(world) == ("False", "TemplateNotFound")
    assert world.of(EVENTS) == []


def test_a_namespace_that_is_going_takes_no_events() -> None:
    world, operator = start_world(make_session().with_template("none"))

    def going(moment: str, request: Request) -> None:
        if (moment, request.verb, request.plural) == ("before", "POST", "events"):
            raise NotFound(404, "namespace is being terminated")

    world.around = going
    operator.look()
    assert ready(world) == ("False", "TemplateNotFound")


def test_the_same_trouble_is_told_once() -> None:
    world, operator = start_world(make_session().with_template("none"))
    operator.settle()
    world.edit(SESSIONS, "hello", backoffLimit=2)
    world.now += timedelta(seconds=1)
    operator.settle()
    assert [event["reason"] for event in world.of(EVENTS)] == ["TemplateNotFound"]
