"""Deleting a session takes everything with it, whatever state it is in, and leaves nothing running."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.api import PODS, SESSIONS, Json
from e2e.lab import Lab, gated
from e2e.manifests import say
from e2e.waiting import eventually

_CROWD = 8
"""Pods that are deleted as they start, each a little later than the one before."""


@pytest.mark.requirement("K01", "K02")
def test_deleting_a_running_session_takes_pod_secret_and_claim(lab: Lab) -> None:
    """By owner references: no finalizer has to be removed by anybody."""
    found = lab.start(steps=(gated(), say("done")), workspace={"storage": "64Mi"}, terminationGracePeriodSeconds=5)
    lab.running()
    assert {kind: len(names) for kind, names in lab.children(found).items()} == {
        "pods": 1,
        "secrets": 1,
        "persistentvolumeclaims": 1,
    }
    lab.api.delete(SESSIONS, lab.namespace, "task")
    lab.gone(SESSIONS, "task")
    lab.without_children(found)


@pytest.mark.requirement("K01")
def test_deleting_a_running_session_does_not_wait_for_a_long_grace(lab: Lab) -> None:
    """A drain would: its agent may work on for as long as that."""
    found = lab.start(steps=(gated(), say("never")), terminationGracePeriodSeconds=3600)
    pod = lab.at_gate()
    lab.api.delete(SESSIONS, lab.namespace, "task")
    lab.gone(PODS, pod)
    lab.without_children(found)


@pytest.mark.requirement("K01")
def test_deleting_a_finished_session_takes_its_retained_pod(lab: Lab) -> None:
    """Retained means as long as the session."""
    found = lab.run(podRetentionPolicy="Retain")
    assert len(lab.pods(found)) == 1
    lab.api.delete(SESSIONS, lab.namespace, "task")
    lab.without_children(found)


@pytest.mark.requirement("K01")
def test_a_session_made_anew_under_an_old_name_is_another_one(lab: Lab) -> None:
    """Its pod is not mistaken for the old one's, which may still be going away."""
    old = lab.start(steps=(gated(), say("old")), terminationGracePeriodSeconds=20)
    pod = lab.running()
    lab.api.delete(SESSIONS, lab.namespace, "task")
    lab.gone(SESSIONS, "task")
    new = lab.start(steps=(say("new"),))
    found = lab.succeeded()
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert found["status"]["result"]["text"] == "new"
    assert found["status"]["host"]["pod"] != pod
    assert found["status"]["sessionId"] == new["metadata"]["uid"]
    lab.without_children(old)


@pytest.mark.requirement("K02")
def test_a_pod_that_somebody_deletes_is_replaced(lab: Lab) -> None:
    """No failure of the agent's: another attempt, same session id, no claim on the backoff limit."""
    lab.start(steps=(gated(), say("done")), backoffLimit=0, terminationGracePeriodSeconds=2)
    first = lab.running()
    lab.api.delete(PODS, lab.namespace, first)
    lab.gone(PODS, first)
    lab.until("task", lambda s: s["status"].get("restarts") == 1 and _runs(s), "the second attempt")
    found = lab.session()
    second = found["status"]["host"]["pod"]
    assert second != first
    assert found["status"]["failures"] == 0
    lab.open_gate(second)
    found = lab.succeeded()
    assert found["status"]["sessionId"] == found["metadata"]["uid"]
    assert [life.attempt for life in lab.witness.of(found["metadata"]["uid"])] == [0, 1]


@pytest.mark.requirement("K02")
def test_a_pod_that_is_deleted_as_it_starts_hears_of_it(lab: Lab) -> None:
    """Its kubelet starts a container to stop it in the same moment, when nothing in it can hear of that yet."""
    with ThreadPoolExecutor(_CROWD) as crowd:
        pods = list(crowd.map(lambda number: _deleted_as_it_starts(lab, number), range(_CROWD)))
    for pod in pods:
        lab.gone_pod(pod)


def _deleted_as_it_starts(lab: Lab, number: int) -> Json:
    """Start a session whose agent ends as soon as it hears a signal, and delete its pod on its node; return the pod."""
    steps = (gated(), say("never"))
    found = lab.start(f"task-{number}", steps=steps, disruption="Safe", terminationGracePeriodSeconds=300)

    def bound() -> Json | None:
        return next((pod for pod in lab.pods(found) if pod["spec"].get("nodeName")), None)

    pod = eventually(bound, bool, "a pod on a node")
    time.sleep(0.3 * number)
    assert pod is not None
    lab.api.delete(PODS, lab.namespace, pod["metadata"]["name"])
    return pod


def _runs(session: dict[str, object]) -> bool:
    """Return whether the session's Ready reason is Running."""
    status = session["status"]
    assert isinstance(status, dict)
    return any(c["type"] == "Ready" and c["reason"] == "Running" for c in status["conditions"])
