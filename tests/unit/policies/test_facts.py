"""What is read from a pod's JSON."""

from datetime import timedelta

import pytest

from agentsessions.api.base import Json
from agentsessions.policies.facts import Ended, PodFacts, parse_time, pod_facts
from unit import kubelet
from unit.make import NOW, UID, make_pod


def test_a_pod_that_was_just_created() -> None:
    assert make_pod(attempt=3).facts() == PodFacts(
        name="hello-199a6b7b-3",
        uid="pod-3",
        resource_version="11",
        attempt=3,
        phase="Pending",
        created=NOW,
        owner_uid=UID,
    )


def test_a_pod_without_any_status_is_pending() -> None:
    body = make_pod().json()
    del body["status"]
    assert pod_facts(body).phase == "Pending"


def test_a_running_pod() -> None:
    pod = make_pod().on_node("n1").with_status(kubelet.running()).facts()
    assert (pod.running, pod.node, pod.accepted, pod.has_started, pod.is_terminal) == (True, "n1", NOW, True, False)


def test_a_pod_that_ended() -> None:
    pod = make_pod().with_status(kubelet.ended(3, message="help")).facts()
    assert pod.ended == Ended(3, "Error", "help", NOW + timedelta(seconds=5))
    assert pod.is_terminal


def test_only_the_agents_container_counts() -> None:
    status = kubelet.running()
    status["containerStatuses"].insert(0, {"name": "mesh", "state": {"terminated": {"exitCode": 9}}})
    assert make_pod().with_status(status).facts().ended is None


@pytest.mark.parametrize(
    ("status", "field", "value"),
    [
        pytest.param(kubelet.unschedulable("no room"), "unschedulable", "no room", id="unschedulable"),
        pytest.param(kubelet.drained(), "disrupted", "Eviction API: evicting", id="drained"),
        pytest.param(kubelet.evicted("full"), "reason", "Evicted", id="evicted-reason"),
        pytest.param(kubelet.evicted("full"), "message", "full", id="evicted-message"),
        pytest.param(kubelet.creating("ErrImagePull", "no such"), "waiting_reason", "ErrImagePull", id="waiting"),
        pytest.param(kubelet.creating("ErrImagePull", "no such"), "waiting_message", "no such", id="waiting-message"),
        pytest.param(kubelet.never_started(), "phase", "Failed", id="deleted-before-it-ran"),
    ],
)
def test_what_the_node_says(status: Json, field: str, value: str) -> None:
    assert getattr(make_pod().with_status(status).facts(), field) == value


@pytest.mark.parametrize(
    ("status", "by", "with_node"),
    [
        pytest.param(kubelet.node_lost(), "DeletionByPodGC", True, id="the-node-is-removed"),
        pytest.param(kubelet.unreachable(), "DeletionByTaintManager", True, id="the-node-is-not-heard-of"),
        pytest.param(kubelet.tainted(), "DeletionByTaintManager", False, id="another-taint"),
        pytest.param(
            kubelet.tainted(kubelet.not_ready()), "DeletionByTaintManager", False, id="another-taint-of-one-not-ready"
        ),
        pytest.param(kubelet.drained(), "EvictionByEvictionAPI", False, id="drained"),
        pytest.param(kubelet.evicted(), "TerminationByKubelet", False, id="evicted"),
        pytest.param(kubelet.not_ready(cut_off=True), "", False, id="not-heard-of-for-a-moment"),
        pytest.param(kubelet.running(), "", False, id="nobody"),
    ],
)
def test_who_puts_an_end_to_it(status: Json, by: str, with_node: bool) -> None:
    pod = make_pod().with_status(status).facts()
    assert (pod.disrupted_by, pod.went_with_node) == (by, with_node)


def test_a_scheduled_pod_is_not_unschedulable() -> None:
    status = kubelet.unschedulable()
    status["conditions"][0] |= {"status": "True"}
    assert make_pod().with_status(status).facts().unschedulable == ""


def test_gated_pods_are_not_unschedulable() -> None:
    status = kubelet.unschedulable()
    status["conditions"][0] |= {"reason": "SchedulingGated"}
    assert make_pod().with_status(status).facts().unschedulable == ""


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("ErrImagePull", True),
        ("ImagePullBackOff", True),
        ("InvalidImageName", True),
        ("ErrImageNeverPull", True),
        ("ContainerCreating", False),
        ("CreateContainerConfigError", False),
    ],
)
def test_whether_the_image_is_the_trouble(reason: str, expected: bool) -> None:
    assert make_pod().with_status(kubelet.creating(reason)).facts().cannot_pull is expected


@pytest.mark.parametrize(
    ("status", "started"),
    [
        pytest.param(kubelet.pending(), False, id="pending"),
        pytest.param(kubelet.creating(), False, id="creating"),
        pytest.param(kubelet.running(), True, id="running"),
        pytest.param(kubelet.ended(1), True, id="ended"),
        pytest.param(kubelet.node_lost(), True, id="lost"),
        pytest.param({"phase": "Unknown"}, True, id="a-silent-node-may-run-it"),
    ],
)
def test_whether_the_agent_may_have_run(status: Json, started: bool) -> None:
    assert make_pod().with_status(status).facts().has_started is started


def test_only_the_controlling_owner_counts() -> None:
    body = make_pod().json()
    body["metadata"]["ownerReferences"] = [{"uid": "other"}, {"uid": "mine", "controller": True}]
    assert pod_facts(body).owner_uid == "mine"
    body["metadata"]["ownerReferences"] = [{"uid": "other"}]
    assert pod_facts(body).owner_uid == ""


@pytest.mark.parametrize("label", ["", "first", "-1", "1.5", "9" * 40])
def test_a_pod_whose_attempt_label_was_tampered_with_belongs_to_no_attempt(label: str) -> None:
    body = make_pod().json()
    body["metadata"]["labels"]["agentsessions.dev/attempt"] = label
    assert pod_facts(body).attempt not in range(1000)


def test_deleting() -> None:
    assert make_pod().deleting().facts().deleting
    assert not make_pod().facts().deleting


def test_no_time_is_no_time() -> None:
    assert parse_time(None) is None
    assert parse_time("2026-05-04T12:00:00Z") == NOW
