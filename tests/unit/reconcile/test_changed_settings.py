"""A template that changes: before the agent ran, while it runs, and after the end."""

import pytest

from agentsessions.kube.paths import PODS, SESSIONS, TEMPLATES
from unit import kubelet
from unit.kstatus import kstatus
from unit.make import NAMESPACE, make_session
from unit.operator_at_work import Operator, crash_at, start_world
from unit.situations import DONE, pod_of, ready
from unit.world import Request


@pytest.mark.parametrize("policy", ["OnFailure", "Never"])
@pytest.mark.parametrize("end", ["gone", "failed-first"])
def test_a_template_that_changes_before_the_agent_ran_makes_the_pod_anew(policy: str, end: str) -> None:
    """The kubelet fails a pod that is deleted before it ran; that is not the failure of an attempt."""
    world, operator = start_world(make_session().with_spec(restart_policy=policy))
    world.put_template(image="typo")
    operator.settle()
    world.set_pod(pod_of(world), kubelet.creating("ErrImagePull"))
    operator.settle()
    world.edit(TEMPLATES, "default", image="right")
    operator.settle()
    old = pod_of(world)
    assert "deletionTimestamp" in old["metadata"]
    if end == "failed-first":
        world.set_pod(old, kubelet.never_started())
        operator.settle()
    world.remove(PODS, NAMESPACE, old["metadata"]["name"])
    operator.hear()
    operator.settle()
    assert pod_of(world)["spec"]["containers"][0]["image"] == "right"
    assert (world.session().status.restarts, world.session().status.failures) == (0, 0)
    assert world.session().status.resolved is not None
    assert world.session().status.resolved.image == "right"


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_write_while_the_pod_is_made_anew(when: str) -> None:
    for number in range(6):
        world, operator = start_world(make_session().with_spec(restart_policy="Never"))
        world.put_template(image="typo")
        operator.settle()
        world.set_pod(pod_of(world), kubelet.creating("ErrImagePull"))
        operator.settle()
        world.edit(TEMPLATES, "default", image="right")
        world.around = crash_at(number, when)
        look_again(operator)
        world.set_pod(pod_of(world), kubelet.never_started())
        operator.try_to_look()
        world.remove(PODS, NAMESPACE, pod_of(world)["metadata"]["name"])
        operator.hear()
        look_again(operator)
        assert pod_of(world)["spec"]["containers"][0]["image"] == "right"
        assert world.session().status.failures == 0


def look_again(operator: Operator) -> None:
    """Look a few times, as often as events and timers would make the operator look."""
    for _ in range(5):
        operator.try_to_look()


def test_a_pod_that_started_meanwhile_is_not_taken_away() -> None:
    world, operator = start_world()
    operator.settle()
    world.put_template(image="new")
    pod = pod_of(world)

    def start(moment: str, request: Request) -> None:
        if moment == "before" and request.verb == "DELETE":
            world.set_pod(pod, kubelet.running())

    world.around = start
    operator.settle()
    assert "deletionTimestamp" not in pod["metadata"]
    assert ready(world) == ("True", "Running")


def test_a_running_agent_is_not_disturbed_by_a_template_that_changes() -> None:
    world, operator = start_world()
    operator.settle()
    world.set_pod(pod_of(world), kubelet.running())
    operator.settle()
    before = world.writes()
    world.put_template(image="new")
    operator.settle()
    assert world.writes() == before


def test_a_spec_that_changes_after_the_end_is_acknowledged_and_no_more() -> None:
    world, operator = start_world()
    operator.settle()
    world.set_pod(pod_of(world), kubelet.ended(0, message=DONE))
    operator.settle()
    result = world.session().status.result
    world.edit(SESSIONS, "hello", image="other", backoffLimit=9)
    assert kstatus(world.of(SESSIONS)[0]) == "InProgress"
    operator.settle()
    assert kstatus(world.of(SESSIONS)[0]) == "Current"
    assert world.session().status.result == result


def test_what_only_the_operator_goes_by_holds_at_once_and_leaves_the_pod_as_it_is() -> None:
    world, operator = start_world(make_session())
    world.put_template(limits={"startDeadlineSeconds": 500})
    operator.settle()
    pod = pod_of(world)
    world.edit(TEMPLATES, "default", limits={"startDeadlineSeconds": 600}, priority=3)
    operator.settle()
    assert pod_of(world)["metadata"] == pod["metadata"]
    resolved = world.session().status.resolved
    assert resolved is not None
    assert resolved.start_deadline_seconds == 600
