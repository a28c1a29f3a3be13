"""A pod that is taken away from outside, by a drain or by hand: the session goes on, and nobody holds it against it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from cluster import Provider
from cluster.local.provider import LocalProvider
from e2e import manifests
from e2e.api import PODS, PRIORITY_CLASSES, Api, condition
from e2e.killing import autoscaler_marks, evict
from e2e.lab import Lab, gated
from e2e.manifests import say


def _delete(api: Api, namespace: str, pod: str) -> None:
    """Delete a pod as a person does."""
    api.delete(PODS, namespace, pod)


@pytest.mark.requirement("K02")
@pytest.mark.parametrize(
    ("take_away", "reason"),
    [
        pytest.param(evict, "Evicted", id="drained"),
        pytest.param(_delete, "Interrupted", id="deleted"),
    ],
)
def test_a_pod_that_is_taken_away_is_no_failure(
    lab: Lab, api: Api, take_away: Callable[[Api, str, str], None], reason: str
) -> None:
    """No failure is allowed here, and yet another attempt follows; what the first one used is counted."""
    lab.start(steps=(gated(), say("done")), backoffLimit=0)
    first = lab.at_gate()
    take_away(api, lab.namespace, first)
    lab.until("task", lambda thing: thing["status"]["restarts"] == 1, "another attempt")
    second = lab.at_gate()
    assert second != first
    lab.open_gate(second)
    found = lab.succeeded()
    status = found["status"]
    assert (status["restarts"], status["failures"]) == (1, 0)
    assert status["lastTermination"]["reason"] == reason
    assert status["lastTermination"]["pod"] == first
    assert condition(found, "Succeeded")["reason"] == "Completed"
    assert lab.model_requests(found) == 3
    assert status["usage"]["outputTokens"] > 0
    assert [life.attempt for life in lab.witness.of(found["metadata"]["uid"])] == [0, 1]


@pytest.mark.requirement("K02")
def test_a_task_that_ends_within_the_grace_of_a_drain_is_done(lab: Lab, api: Api) -> None:
    """Its answer is taken, though its pod goes: nothing is begun anew, and nothing paid for twice."""
    lab.start(steps=(gated(), say("done")), terminationGracePeriodSeconds=300)
    pod = lab.at_gate()
    evict(api, lab.namespace, pod)
    lab.open_gate(pod)
    found = lab.succeeded()
    assert (found["status"]["restarts"], found["status"]["result"]["text"]) == (0, "done")
    assert lab.model_requests(found) == 2
    lab.gone(PODS, pod)


@pytest.mark.requirement("K02")
def test_a_task_that_may_be_disrupted_at_any_time_is_interrupted_at_once(lab: Lab, api: Api) -> None:
    """Nobody waits for the end of its grace, which is longer than this test does."""
    lab.start(steps=(gated(), say("done")), disruption="Safe", terminationGracePeriodSeconds=600)
    first = lab.at_gate()
    found = api.get(PODS, lab.namespace, first)
    assert found is not None
    assert autoscaler_marks(found) == {"safe-to-evict": "true"}
    evict(api, lab.namespace, first)
    lab.until("task", lambda thing: thing["status"]["restarts"] == 1, "another attempt")
    lab.open_gate(lab.at_gate())
    status = lab.succeeded()["status"]
    assert (status["failures"], status["lastTermination"]["reason"]) == (0, "Evicted")


@contextmanager
def priority_class(api: Api, name: str, value: int) -> Iterator[None]:
    """Have a PriorityClass for a while."""
    api.create(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
        }
    )
    try:
        yield
    finally:
        api.delete(PRIORITY_CLASSES, None, name)


@pytest.mark.requirement("K02")
@pytest.mark.parametrize(
    "watched",
    [
        pytest.param(True, id="watched"),
        pytest.param(False, id="while-no-operator-runs", marks=pytest.mark.ends_operator),
    ],
)
def test_a_pod_that_gives_way_to_one_of_higher_priority_is_no_failure(lab: Lab, api: Api, watched: bool) -> None:
    """The scheduler itself takes it away: the other pod must be on its node, and there is no room for both.

    An operator that comes back to find the pod gone learns from events why.
    """
    low, high = f"{lab.namespace}-low", f"{lab.namespace}-high"
    with priority_class(api, low, -10), priority_class(api, high, 10):
        most = {"requests": {"cpu": "1100m"}}
        lab.start(steps=(gated(), say("done")), backoffLimit=0, priorityClassName=low, resources={"cpu": "2", **most})
        first = lab.at_gate()
        node = lab.session()["status"]["host"]["node"]
        intruder = manifests.server_pod(lab.namespace, "intruder", lab.images.reference("standin"))
        intruder["spec"] |= {"priorityClassName": high, "nodeSelector": {"kubernetes.io/hostname": node}}
        intruder["spec"]["containers"][0]["resources"] = most
        with nullcontext() if watched else lab.operator.stopped():
            api.create(intruder)
            lab.gone(PODS, first)
        lab.until("task", lambda thing: thing["status"]["restarts"] == 1, "another attempt")
        api.delete(PODS, lab.namespace, "intruder")
        lab.open_gate(lab.at_gate())
        found = lab.succeeded()
    status = found["status"]
    assert (status["restarts"], status["failures"]) == (1, 0)
    assert status["lastTermination"]["reason"] == "Evicted"
    assert "reempt" in status["lastTermination"]["message"]
    assert [life.attempt for life in lab.witness.of(found["metadata"]["uid"])] == [0, 1]


@pytest.mark.requirement("K02")
def test_a_pod_that_its_node_has_no_memory_for_is_no_failure(lab: Lab, api: Api, provider: Provider) -> None:
    """The kubelet itself evicts it, before anything else of the node: by priority, and by what it uses unasked."""
    if not isinstance(provider, LocalProvider):
        pytest.skip("a kubelet's thresholds are set only where it is a process of this machine")
    with priority_class(api, f"{lab.namespace}-low", -10):
        asked: dict[str, Any] = {"resources": {"requests": {"memory": "16Mi"}}}
        lab.start(steps=(gated(), say("done")), backoffLimit=0, priorityClassName=f"{lab.namespace}-low", **asked)
        first = lab.at_gate()
        node = lab.session()["status"]["host"]["node"]
        with provider.short_of_memory(node):  # not for long: the next pod might be the operator's
            evicted = lab.until("task", lambda thing: thing["status"]["restarts"] == 1, "another attempt")
        lab.open_gate(lab.at_gate())
        found = lab.succeeded()
    assert evicted["status"]["lastTermination"] == found["status"]["lastTermination"]
    last = found["status"]["lastTermination"]
    assert (found["status"]["failures"], last["reason"], last["pod"]) == (0, "Evicted", first)
    assert "was low on resource: memory" in last["message"]
