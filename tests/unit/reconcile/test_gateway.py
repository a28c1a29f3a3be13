"""With a gateway a running session of its own pod can be found and reached, and only as long as it runs."""

import pytest

from agentsessions.api.config import Gateway, OperatorConfig
from agentsessions.kube.paths import NETWORK_POLICIES
from unit import kubelet
from unit.make import CONFIG
from unit.operator_at_work import Operator, start_world
from unit.situations import DONE, pod_of
from unit.world import World

WITH_GATEWAY = CONFIG.model_copy(update={"gateway": Gateway(enabled=True, url="https://agents.example/")})


def running(config: OperatorConfig = WITH_GATEWAY) -> tuple[World, Operator]:
    """Return a world in which the session's agent is at work."""
    world, operator = start_world()
    operator.config = config
    operator.settle()
    assert world.session().status.endpoint is None
    world.set_pod(pod_of(world), kubelet.running())
    operator.settle()
    return world, operator


@pytest.mark.requirement("H10", "H25")
def test_a_running_session_says_where_it_is_talked_to_and_a_finished_one_no_more() -> None:
    world, operator = running()
    assert world.session().status.endpoint == "https://agents.example/v1/namespaces/team-a/sessions/hello"
    world.set_pod(pod_of(world), kubelet.ended(0, message=DONE))
    operator.settle()
    assert world.session().status.endpoint is None


def test_without_a_gateway_there_is_nothing_to_say() -> None:
    world, _ = running(CONFIG)
    assert world.session().status.endpoint is None


def test_a_policy_with_ingress_is_written_once() -> None:
    """It comes back from the API server as it was meant, else every look would write it again."""
    world, operator = running()
    operator.settle()
    assert [r.verb for r in world.writes() if r.plural == "networkpolicies"] == ["POST"]


def test_ingress_that_somebody_changed_is_set_right() -> None:
    world, operator = running()
    (policy,) = world.of(NETWORK_POLICIES)
    assert policy["spec"]["ingress"]
    world.edit(NETWORK_POLICIES, policy["metadata"]["name"], ingress=[{}])
    operator.settle()
    assert world.of(NETWORK_POLICIES)[0]["spec"] == policy["spec"]
