"""Pods that others made, copied or tampered with, and what trouble costs."""

from typing import Any

import pytest

from agentsessions.api.base import Json
from agentsessions.kube.paths import PODS, SESSIONS
from unit import kubelet
from unit.make import NAMESPACE
from unit.operator_at_work import start_world
from unit.situations import DONE, message, pod_of, ready, stranger, writes_in
from unit.world import World


@pytest.mark.parametrize(
    ("break_it", "most"),
    [
        pytest.param(lambda w: w.refusals.update({"pods": "exceeded quota"}), 40, id="refused"),
        pytest.param(lambda w: w.add(PODS, stranger()), 40, id="a-strangers-pod-has-the-name"),
        pytest.param(lambda w: w.edit(SESSIONS, "hello", templateRef={"name": "none"}), 2, id="no-template"),
        pytest.param(lambda w: None, 6, id="nobody-takes-the-pod"),
    ],
)
def test_a_session_that_cannot_start_costs_little(break_it: Any, most: int) -> None:
    world, operator = start_world()
    break_it(world)
    assert writes_in(world, operator, minutes=60) <= most


def test_a_strangers_pod_of_the_same_name_is_said_and_never_touched() -> None:
    world, operator = start_world()
    world.add(PODS, stranger())
    operator.look()
    operator.look()
    assert ready(world) == ("False", "PodConflict")
    assert "'hello-199a6b7b-0'" in message(world)
    assert "DELETE" not in {request.verb for request in world.requests}
    world.remove(PODS, NAMESPACE, "hello-199a6b7b-0")
    operator.settle()
    assert ready(world) == ("False", "Starting")


@pytest.mark.parametrize("name", ["a-debug-copy", "z-debug-copy"])
def test_a_copy_of_the_pod_with_all_its_labels_changes_nothing(name: str) -> None:
    world, operator = start_world()
    operator.settle()
    labels = pod_of(world)["metadata"]["labels"]
    copy = {"metadata": {"name": name, "namespace": NAMESPACE, "labels": labels}, "spec": {}}
    own = pod_of(world)
    world.add(PODS, copy)
    world.objects = dict(reversed(world.objects.items()))
    world.set_pod(own, kubelet.ended(0, message=DONE))
    operator.settle()
    assert ready(world) == ("True", "Completed")
    assert [pod["metadata"]["name"] for pod in world.pods()] == [name]


@pytest.mark.parametrize("label", ["", "x", "7", "-1"])
def test_a_label_that_was_tampered_with_does_not_stop_the_operator(label: str) -> None:
    world, operator = start_world()
    operator.settle()
    world.add(PODS, stranger_with_labels(world, label))
    operator.settle()
    assert ready(world) == ("False", "Starting")


def stranger_with_labels(world: World, attempt: str) -> Json:
    """Return a copy of the session's pod with another number."""
    labels = pod_of(world)["metadata"]["labels"] | {"agentsessions.dev/attempt": attempt}
    return {"metadata": {"name": "copy", "namespace": NAMESPACE, "labels": labels}, "spec": {}}


@pytest.mark.parametrize("labels", [{}, {"agentsessions.dev/attempt": "5"}])
def test_a_pod_that_lost_its_labels_is_still_the_sessions_own(labels: dict[str, str]) -> None:
    world, operator = start_world()
    operator.settle()
    pod = pod_of(world)
    pod["metadata"]["labels"] = labels
    world.set_pod(pod, kubelet.running())
    operator.settle()
    assert ready(world) == ("True", "Running")
    world.set_pod(pod, kubelet.ended(0, message=DONE))
    operator.settle()
    assert ready(world) == ("True", "Completed")
    assert world.session().status.restarts == 0


def test_a_namesake_of_a_pod_that_is_gone_is_not_taken_for_it() -> None:
    world, operator = start_world()
    operator.settle()
    world.set_pod(pod_of(world), kubelet.running())
    operator.settle()
    world.remove(PODS, NAMESPACE, stranger()["metadata"]["name"])
    world.add(PODS, stranger())
    world.set_pod(pod_of(world), kubelet.ended(0, message=DONE))
    operator.look()
    assert world.session().status.restarts == 1
    assert world.session().status.result is None
