"""Single situations: what is wrong, what the user is told, what it costs, and that mending the cause is enough."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from agentsessions.api.base import Json
from agentsessions.api.config import OperatorConfig
from agentsessions.api.status import Host
from agentsessions.kube.errors import Transient
from agentsessions.kube.paths import CORE_EVENTS, EVENTS, NETWORK_POLICIES, PODS, SECRETS, SESSIONS, TEMPLATES
from unit import kubelet
from unit.kstatus import kstatus
from unit.make import NAMESPACE, NOW, make_report, make_session
from unit.operator_at_work import Operator, crash_at, start_world
from unit.world import Crash, Request, World

DONE = make_report(result={"text": "4 files"})


def ready(world: World) -> tuple[str, str]:
    """Return status and reason of Ready."""
    found = world.session().status.condition("Ready")
    assert found is not None
    return found.status, found.reason


def message(world: World) -> str:
    """Return the message of Ready."""
    found = world.session().status.condition("Ready")
    assert found is not None
    return found.message


def pod_of(world: World) -> Json:
    """Return the only pod."""
    (pod,) = world.pods()
    return pod


def writes_in(world: World, operator: Operator, minutes: int) -> int:
    """Return how much is written while nothing happens but time."""
    before, end = len(world.writes()), world.now + timedelta(minutes=minutes)
    for _ in range(1000):
        operator.look()
        if operator.requeue is None or world.now + operator.requeue > end:
            return len(world.writes()) - before
        world.now += max(operator.requeue, timedelta(seconds=1))
    raise AssertionError("the operator spins")


# Bad input


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
    warning = {
        "metadata": {"name": "e1", "namespace": NAMESPACE},
        "involvedObject": {"uid": pod["metadata"]["uid"]},
        "type": "Warning",
        "reason": "FailedMount",
        "message": 'MountVolume.SetUp failed for volume "session" : secret "task" not found',
        "lastTimestamp": "2026-05-04T12:00:05Z",
    }
    world.add(CORE_EVENTS, warning)
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


def test_a_refused_pod_is_explained_and_tried_again_when_the_cause_is_mended() -> None:
    world, operator = start_world()
    world.refusals["pods"] = "exceeded quota: compute"
    operator.look()
    assert ready(world) == ("False", "PodRejected")
    assert "exceeded quota" in message(world)
    assert operator.requeue is not None
    world.refusals.clear()
    operator.settle()
    assert ready(world) == ("False", "Starting")


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


def stranger(**labels: str) -> Json:
    """Return a pod of another's that has the name of the session's first pod."""
    meta = {"name": "hello-199a6b7b-0", "namespace": NAMESPACE, "labels": labels}
    return {"kind": "Pod", "metadata": meta, "spec": {}}


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


# Settings that change


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
def test_killed_at_any_request_while_the_pod_is_made_anew(when: str) -> None:
    for number in range(16):
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


# What is shared, and what others do


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


def test_the_same_trouble_is_told_once() -> None:
    world, operator = start_world(make_session().with_template("none"))
    operator.settle()
    world.edit(SESSIONS, "hello", backoffLimit=2)
    world.now += timedelta(seconds=1)
    operator.settle()
    assert [event["reason"] for event in world.of(EVENTS)] == ["TemplateNotFound"]


def test_a_status_written_by_another_meanwhile_is_not_overwritten() -> None:
    world, operator = start_world()

    def edit(moment: str, request: Request) -> None:
        if moment == "before" and request.verb == "PATCH":
            world.around = lambda *_: None
            world.edit(SESSIONS, "hello", backoffLimit=1)

    world.around = edit
    operator.try_to_look()
    assert world.session().status.conditions == []
    operator.settle()
    assert ready(world) == ("False", "Starting")
    assert len(world.of(PODS)) == 1


def test_an_answer_that_got_lost_is_no_second_pod() -> None:
    world, operator = start_world()

    def lose(moment: str, request: Request) -> None:
        if moment == "after" and (request.verb, request.plural) == ("POST", "pods"):
            world.around = lambda *_: None
            raise Transient(0, "no answer")

    world.around = lose
    operator.try_to_look()
    operator.settle()
    assert len(world.of(PODS)) == 1
    assert ready(world) == ("False", "Starting")


def test_a_request_of_a_killed_operator_that_lands_late_is_taken_over() -> None:
    world, operator = start_world()

    def land(moment: str, request: Request) -> None:
        if (moment, request.verb, request.plural) == ("before", "POST", "pods"):
            world.around = lambda when, asked: raise_crash() if (when, asked.plural) == ("after", "pods") else None
            with suppress(Crash):
                Operator(world).look()
            world.around = lambda *_: None

    world.around = land
    operator.look()
    assert ready(world) == ("False", "Starting")
    assert world.session().status.host == Host(
        pod=pod_of(world)["metadata"]["name"], pod_uid=pod_of(world)["metadata"]["uid"]
    )


def raise_crash() -> None:
    """Kill the operator."""
    raise Crash


def test_a_pod_in_the_way_that_goes_at_that_moment_is_no_conflict() -> None:
    world, operator = start_world()
    world.add(PODS, stranger())

    def leave(moment: str, request: Request) -> None:
        if (moment, request.verb, request.plural) == ("before", "GET", "pods"):
            world.around = lambda *_: None
            world.remove(PODS, NAMESPACE, request.name)

    world.around = leave
    operator.try_to_look()
    assert world.session().status.conditions == []
    operator.settle()
    assert ready(world) == ("False", "Starting")


def test_only_the_pod_that_was_seen_is_deleted() -> None:
    world, operator = start_world()
    operator.settle()
    world.set_pod(pod_of(world), kubelet.ended(0, message=DONE))
    operator.look()

    def replace(moment: str, request: Request) -> None:
        if (moment, request.verb) == ("before", "DELETE"):
            world.around = lambda *_: None
            world.remove(PODS, NAMESPACE, request.name)
            world.add(PODS, stranger())

    world.around = replace
    operator.look()
    assert [pod["metadata"]["name"] for pod in world.pods()] == [stranger()["metadata"]["name"]]


# Ends


def test_a_session_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    _, operator = start_world(make_session().deleting())
    assert operator.look() == 0
    assert operator.requeue is None


def test_a_session_that_is_gone_is_nothing_to_do() -> None:
    world, operator = start_world()
    world.remove(SESSIONS, NAMESPACE, "hello")
    assert operator.look() == 0


def test_a_deadline_that_the_node_does_not_keep_is_kept_by_the_operator() -> None:
    world, operator = start_world(make_session().with_spec(limits={"activeDeadlineSeconds": 100}))
    operator.settle()
    world.set_pod(pod_of(world), kubelet.running())
    operator.settle()
    assert operator.requeue == timedelta(seconds=160)
    world.now += timedelta(seconds=159)
    operator.settle()
    assert ready(world) == ("True", "Running")
    world.now += timedelta(seconds=1)
    operator.look()
    assert ready(world) == ("False", "DeadlineExceeded")
    assert "deletionTimestamp" in pod_of(world)["metadata"]
    assert operator.look() == 0


def test_retries_share_one_deadline() -> None:
    world, operator = start_world(make_session().with_spec(limits={"activeDeadlineSeconds": 100}))
    operator.settle()
    world.set_pod(pod_of(world), kubelet.ended(1, at=NOW, finished=NOW + timedelta(seconds=30)))
    world.now += timedelta(seconds=30)
    operator.settle()
    world.now += timedelta(seconds=10)
    operator.settle()
    assert pod_of(world)["spec"]["activeDeadlineSeconds"] == 60
    world.set_pod(pod_of(world), kubelet.drained())
    world.now += timedelta(seconds=60)
    operator.settle()
    assert ready(world) == ("False", "DeadlineExceeded")
    assert world.of(PODS) == []


def test_the_end_of_a_pod_that_was_deleted_at_once_is_remembered() -> None:
    world, operator = start_world()
    operator.settle()
    pod = pod_of(world)
    world.set_pod(pod, kubelet.ended(0, message=DONE))
    world.remove(PODS, NAMESPACE, pod["metadata"]["name"])
    operator.hear()
    operator.settle()
    assert ready(world) == ("True", "Completed")
    before = len(world.writes())
    operator.settle()
    assert len(world.writes()) == before


def test_secrets_go_with_their_session() -> None:
    world, operator = start_world()
    operator.settle()
    assert len(world.of(SECRETS)) == 1
    world.remove(SESSIONS, NAMESPACE, "hello")
    assert world.of(SECRETS) == []
    assert world.of(PODS) == []


def test_the_time_to_live_runs_from_the_end() -> None:
    world, operator = start_world(make_session().with_spec(ttl_seconds_after_finished=60))
    operator.settle()
    world.set_pod(pod_of(world), kubelet.ended(0, finished=NOW))
    operator.settle()
    assert operator.requeue == timedelta(seconds=60)
    world.now += timedelta(seconds=59)
    operator.settle()
    assert len(world.of(SESSIONS)) == 1
    world.now += timedelta(seconds=1)
    operator.look()
    assert world.of(SESSIONS) == []
