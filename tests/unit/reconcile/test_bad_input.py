"""What is wrong is said with its fix, costs little, and heals by itself once it is mended."""

from datetime import timedelta

import pytest

from agentsessions.api.config import OperatorConfig
from agentsessions.kube.paths import CORE_EVENTS, EVENTS, PODS, SESSIONS
from unit import kubelet
from unit.kstatus import kstatus
from unit.make import NAMESPACE, NOW, make_session
from unit.operator_at_work import Operator, start_world
from unit.situations import message, pod_of, ready


def test_a_template_that_does_not_exist_is_named_and_heals_when_it_comes() -> None:
    world, operator = start_world(make_session().with_template("reviewer"))
    operator.settle()
    assert ready(world) == ("False", "TemplateNotFound")
    assert "'reviewer'" in message(world)
    assert kstatus(world.of(SESSIONS)[0]) == "Failed"
    assert world.of(PODS) == []
    world.put_template("reviewer", image="mine")
    operator.settle()
    assert pod_of(world)["spec"]["containers"][0]["image"] == "mine"
    assert ready(world) == ("False", "Starting")


def test_a_namespace_without_a_default_template_is_well() -> None:
    world, operator = start_world()
    operator.settle()
    assert ready(world) == ("False", "Starting")


def test_without_a_model_endpoint_nothing_starts_until_one_is_set() -> None:
    world, _ = start_world()
    operator = Operator(world, OperatorConfig())
    operator.settle()
    assert ready(world) == ("False", "InvalidSpec")
    assert "`modelEndpoint.baseUrl`" in message(world)
    world.put_template(modelEndpoint={"baseUrl": "http://m"})
    operator.settle()
    assert len(world.of(PODS)) == 1


def test_a_template_of_a_newer_crd_is_named_with_its_fields() -> None:
    world, operator = start_world()
    world.put_template(contentLogging="Sometimes")
    operator.settle()
    assert ready(world) == ("False", "TemplateNotFound")
    assert "contentLogging" in message(world)
    assert "Sometimes" not in message(world)


def test_a_session_of_a_newer_crd_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    _, operator = start_world(make_session().with_spec(pattern="Eternal", prompt="s3cret"))
    assert operator.look() == 0
    assert "s3cret" not in caplog.text
    assert [r.__dict__["fields"]["fields"] for r in caplog.records if r.levelname == "WARNING"] == ["spec.pattern"]


def test_an_image_that_cannot_be_pulled_heals_by_itself() -> None:
    world, operator = start_world()
    operator.settle()
    world.set_pod(pod_of(world), kubelet.creating("ErrImagePull", "not found"))
    operator.settle()
    assert ready(world) == ("False", "ImagePullFailed")
    world.set_pod(pod_of(world), kubelet.running())
    operator.settle()
    assert ready(world) == ("True", "Running")


def test_a_missing_secret_is_found_in_the_nodes_events() -> None:
    world, operator = start_world(make_session().with_prompt_secret("task"))
    operator.settle()
    pod = pod_of(world)
    world.set_pod(pod, kubelet.creating())
    text = 'MountVolume.SetUp failed for volume "session" : secret "task" not found'
    warning = kubelet.event(pod, "FailedMount", text, NOW + timedelta(seconds=5))
    world.add(CORE_EVENTS, warning | {"type": "Warning"})
    operator.settle()
    assert ready(world) == ("False", "Starting")
    world.now += timedelta(seconds=10)
    operator.settle()
    assert ready(world) == ("False", "SecretNotFound")
    assert "'task'" in message(world)
    world.set_pod(pod, kubelet.running())
    operator.settle()
    assert ready(world) == ("True", "Running")


def test_the_newest_event_counts_whatever_order_they_come_in() -> None:
    world, operator = start_world()
    operator.settle()
    world.set_pod(pod_of(world), kubelet.creating())
    for name, reason, at in (("b", "FailedAttachVolume", "12:00:09"), ("a", "FailedCreatePodSandBox", "12:00:04")):
        world.add(
            CORE_EVENTS,
            {
                "metadata": {"name": name, "namespace": NAMESPACE},
                "involvedObject": {"uid": pod_of(world)["metadata"]["uid"]},
                "type": "Warning",
                "reason": reason,
                "message": reason,
                "eventTime" if name == "b" else "lastTimestamp": f"2026-05-04T{at}Z",
            },
        )
    world.now += timedelta(seconds=10)
    operator.settle()
    assert ready(world) == ("False", "VolumeNotReady")


@pytest.mark.parametrize(
    ("words", "reason", "condition"),
    [
        pytest.param(
            "exceeded quota: compute, used: pods=5, limited: pods=5", "QuotaExceeded", "Reconciling", id="full"
        ),
        pytest.param("failed quota: compute: must specify limits.cpu", "PodRejected", "Stalled", id="never"),
    ],
)
def test_a_refused_pod_is_explained_and_tried_again(words: str, reason: str, condition: str) -> None:
    world, operator = start_world()
    world.refusals["pods"] = words
    operator.look()
    assert ready(world) == ("False", reason)
    assert world.session().status.is_true(condition)
    assert message(world) == words
    assert [event["reason"] for event in world.of(EVENTS)] == [reason]
    world.refusals.clear()
    operator.settle()
    assert ready(world) == ("False", "Starting")


def test_a_full_quota_is_tried_with_pauses_and_its_changing_counts_are_not_written() -> None:
    world, operator = start_world()
    tries = 0
    while world.now < NOW + timedelta(hours=1):
        world.refusals["pods"] = f"exceeded quota: compute, used: cpu={tries}, limited: cpu=5"
        operator.look()
        assert operator.requeue is not None
        world.now += operator.requeue
        tries += 1
    status_writes = [r for r in world.requests if (r.verb, r.plural) == ("PATCH", SESSIONS.plural)]
    assert len(status_writes) == 1
    assert 10 <= tries <= 20


@pytest.mark.parametrize(
    ("age", "reason"), [pytest.param(3, "VolumeNotReady", id="fresh"), pytest.param(5, "Starting", id="mended-since")]
)
def test_a_complaint_that_the_node_no_longer_repeats_is_an_old_one(age: int, reason: str) -> None:
    world, operator = start_world()
    operator.settle()
    world.set_pod(pod_of(world), kubelet.creating())
    warning = kubelet.event(pod_of(world), "FailedMount", "timed out", world.now)
    world.add(CORE_EVENTS, warning | {"type": "Warning"})
    world.now += timedelta(minutes=age)
    operator.settle()
    assert ready(world) == ("False", reason)
