"""Pods of Hybrid sessions: those that do not start, are lost, are left over, or belong to somebody else."""

import pytest

from agentsessions import metrics
from agentsessions.api.base import Json
from agentsessions.api.host import PROBLEM_PREFIX, Beginning
from agentsessions.hosts.errors import Unreachable, error_for
from agentsessions.kube.errors import Transient
from agentsessions.kube.paths import PODS
from unit import kubelet
from unit.hybrid import NAME, UID, Stage, awake, make_nap, not_ready, own_pod, serving, start
from unit.make import NAMESPACE, make_session
from unit.world import Request

DRAIN: list[Json] = kubelet.drained()["conditions"]


def test_leftover_pods_are_deleted_once_and_never_anothers() -> None:
    on = start()
    on.settle()
    other = make_session(NAME).with_meta(uid="33333333-3333-4333-8333-333333333333").build()
    labels = {"agentsessions.dev/session-uid": UID, "agentsessions.dev/attempt": "7"}
    for name, owner in [(own_pod(7), UID), ("copy", UID), ("stranger", other.metadata.uid)]:
        reference = {"kind": "AgentSession", "name": NAME, "uid": owner, "controller": True}
        meta = {"name": name, "namespace": NAMESPACE, "labels": labels, "ownerReferences": [reference]}
        on.world.add(PODS, {"metadata": meta, "spec": {"nodeName": "n1"}})
    on.look()
    assert sorted(on.pods()) == ["copy", "stranger"]
    assert on.deletions() == 1
    on.look()
    assert on.deletions() == 1, "it goes by itself"
    assert on.says() == ("True", "Asleep")


def test_a_strangers_pod_of_the_name_is_said_and_never_touched() -> None:
    on = start()
    on.settle()
    on.world.add(PODS, {"metadata": {"name": own_pod(1), "namespace": NAMESPACE, "labels": {}}, "spec": {}})
    on.ask()
    assert on.trouble(3600) <= 1
    assert on.says("Stalled") == ("True", "PodConflict")
    assert on.deletions() == 0
    assert on.session().status.wakes == 0
    on.world.remove(PODS, NAMESPACE, own_pod(1))
    on.settle()
    assert on.says("Reconciling") == ("True", "Waking")


@pytest.mark.parametrize(
    ("words", "condition", "reason"),
    [("exceeded quota: pods", "Reconciling", "QuotaExceeded"), ("no such RuntimeClass", "Stalled", "PodRejected")],
)
def test_a_pod_that_is_refused_is_tried_again_with_patience(words: str, condition: str, reason: str) -> None:
    on = start()
    on.settle()
    on.world.refusals["POST pods"] = words
    on.ask()
    assert on.trouble(3600) <= 1
    assert on.says(condition) == ("True", reason)
    assert on.message() == words
    assert on.events() == [reason]
    on.world.refusals.clear()
    on.settle()
    assert on.says("Reconciling") == ("True", "Waking")


@pytest.mark.requirement("K02")
def test_a_pod_that_does_not_start_in_time_is_given_up_and_a_message_tries_again() -> None:
    on = start(make_nap(limits={"startDeadlineSeconds": 100}))
    on.settle()
    on.ask()
    on.settle()
    on.world.set_pod(next(on.world.pods()), kubelet.unschedulable("0/1 nodes are available: 1 Insufficient cpu."))
    on.idle(95)
    on.settle()
    assert on.says() == ("False", "Unschedulable")
    assert on.requeue is not None
    on.idle(on.requeue.total_seconds())
    on.settle()
    assert on.requeue is None
    assert on.pods() == []
    assert on.says("Stalled") == ("True", "StartDeadlineExceeded")
    assert "1 Insufficient cpu." in on.message()
    assert "next message tries again" in on.message()
    assert on.events() == ["StartDeadlineExceeded"]
    on.wake()
    assert on.says() == ("True", "Running")
    assert on.pods() == [own_pod(2)]


@pytest.mark.requirement("H31")
def test_a_lost_pod_is_followed_by_another_and_what_it_cut_is_told() -> None:
    on = awake()
    on.lose(own_pod(1))
    on.settle()
    assert on.pods() == [own_pod(2)]
    on.hosts.beginning, on.hosts.interrupted = Beginning.RESUMED, True
    on.start_pods()
    on.settle()
    assert on.says() == ("True", "Running")
    assert on.says("Resumed") == ("True", "TranscriptFound")
    assert "interrupted" in on.message("Resumed")
    assert on.events() == ["HostLost", "TurnInterrupted"]


@pytest.mark.requirement("K02")
@pytest.mark.parametrize("heard", [True, False])
def test_how_a_pod_ended_is_told_though_it_is_gone_before_anybody_looks(heard: bool) -> None:
    on = awake()
    (pod,) = on.world.pods()
    on.world.set_pod(pod, kubelet.tainted(kubelet.ended(143)))
    if heard:
        on.lasting.deleted.remember(pod)
    on.lose(own_pod(1))
    on.settle()
    status = on.session().status
    assert on.pods() == [own_pod(2)]
    assert status.last_termination is not None
    found = (status.last_termination.reason, status.last_termination.exit_code)
    assert found == (("Evicted", 143) if heard else ("HostLost", None))
    assert (status.disruptions, status.failures, status.restarts) == (1, 0, 1)
    assert on.events() == ["HostLost"]


@pytest.mark.requirement("K02")
def test_an_operator_that_was_not_there_learns_from_events_how_a_pod_ended() -> None:
    on = awake()
    on.taint_manager_posts()
    on.lose(own_pod(1))
    on.settle()
    last = on.last_end()
    assert (last.reason, last.exit_code, last.node) == ("Evicted", None, "n1")
    assert last.message == f"TaintManagerEviction: {kubelet.MARKED}"
    assert (on.session().status.disruptions, on.session().status.failures) == (1, 0)
    assert on.pods() == [own_pod(2)]


def test_a_taint_that_was_taken_back_has_ended_nothing() -> None:
    on = awake()
    on.taint_manager_posts("Cancelling deletion of Pod default/hello")
    on.lose(own_pod(1))
    on.settle()
    assert on.last_end().reason == "HostLost"


def _no_events(when: str, request: Request) -> None:
    if (request.verb, request.plural) == ("LIST", "events"):
        raise Transient(503, "no events now")


def test_a_session_goes_on_though_nobody_may_ask_for_events() -> None:
    on = awake()
    on.taint_manager_posts()
    on.lose(own_pod(1))
    on.world.around = _no_events
    on.settle()
    assert on.last_end().reason == "HostLost"
    assert on.pods() == [own_pod(2)]


def test_events_are_asked_for_a_pod_that_is_gone_and_only_once() -> None:
    on = awake()
    on.world.requests.clear()
    on.settle()
    assert on.asked_for_events() == 0
    on.lose(own_pod(1))
    on.settle()
    assert on.asked_for_events() == 1
    on.start_pods()
    on.settle()
    assert on.asked_for_events() == 1


def test_a_pod_that_is_lost_again_and_again_is_followed_with_growing_pauses() -> None:
    on, waits = awake(), []
    for _ in range(12):
        on.start_pods()
        on.settle()
        assert on.says() == ("True", "Running")
        on.idle(60)
        (name,) = on.pods()
        on.lose(name)
        began = on.world.now
        on.settle()
        while not on.pods():
            assert on.requeue is not None
            assert on.says("Reconciling") == ("True", "HostLost")
            assert on.settle() == 0, "to wait is no write"
            on.world.now += on.requeue
            on.settle()
        waits.append((on.world.now - began).total_seconds())
    assert waits[0] == 0
    assert waits[:8] == sorted(waits[:8])
    assert all(225 <= wait <= 300 for wait in waits[-3:]), "the longest pauses, each a little shorter by chance"
    assert len(set(waits[-3:])) == 3
    assert (on.session().status.failures, on.session().status.disruptions) == (0, 12), "nobody's failure"


@pytest.mark.requirement("K02", "H04")
def test_a_pod_that_was_lost_with_its_node_is_followed_after_a_while_by_one_that_has_a_later_claim() -> None:
    on = awake()
    (pod,) = on.world.pods()
    on.world.delete_gracefully(PODS, on.world.objects[PODS, NAMESPACE, pod["metadata"]["name"]])
    on.settle()
    before = on.deletions()
    assert on.requeue is not None
    on.idle(29)
    on.settle()
    assert (on.deletions(), on.says()) == (before, ("False", "Waking")), "a node has time to say that it has ended"
    on.idle(1)
    on.settle()
    assert on.pods() == [own_pod(2)]
    assert on.deletions() == before + 1
    assert told(on) == ("NodeLost", own_pod(1), 1)
    on.start_pods()
    on.settle()
    assert on.says() == ("True", "Running")
    epochs = [given.epoch or 0 for given in on.hosts.given]
    assert epochs == sorted(set(epochs))
    assert len(epochs) == 2


@pytest.mark.requirement("K02", "H04")
@pytest.mark.parametrize(
    ("status", "reason"), [(kubelet.unreachable(), "NodeLost"), (kubelet.tainted(), "Evicted")], ids=["lost", "tainted"]
)
def test_whose_taint_it_was_is_told_at_once(status: Json, reason: str) -> None:
    on = awake()
    (pod,) = on.world.pods()
    on.world.set_pod(pod, status)
    on.world.delete_gracefully(PODS, on.world.objects[PODS, NAMESPACE, pod["metadata"]["name"]])
    on.settle()
    assert told(on) == (reason, own_pod(1), 0)


@pytest.mark.requirement("K02")
def test_a_node_that_is_lost_while_it_is_drained_is_told_and_counted_once() -> None:
    on, before = awake(), {reason: failed(reason) for reason in ("Evicted", "NodeLost")}
    (pod,) = on.world.pods()
    on.world.set_pod(pod, pod["status"] | {"conditions": [*pod["status"]["conditions"], *DRAIN]})
    on.world.delete_gracefully(PODS, on.world.objects[PODS, NAMESPACE, pod["metadata"]["name"]])
    on.settle()
    assert told(on) == ("Evicted", own_pod(1), 0)
    on.idle(30)
    on.settle()
    assert told(on) == ("NodeLost", own_pod(1), 1)
    assert on.session().status.disruptions == 1
    assert {reason: failed(reason) - count for reason, count in before.items()} == {"Evicted": 1, "NodeLost": 0}


def told(on: Stage) -> tuple[str, str, int]:
    """Return what status tells of the last end, of which pod, and how often the session went on."""
    status = on.session().status
    assert status.last_termination is not None
    return status.last_termination.reason, status.last_termination.pod, status.restarts


def failed(reason: str) -> float:
    """Return how many ends for that reason were counted."""
    return metrics.REGISTRY.get_sample_value("agentsessions_attempts_failed_total", {"reason": reason}) or 0.0


@pytest.mark.requirement("K02", "H04")
def test_a_status_that_has_lost_its_count_takes_the_stores() -> None:
    on = start()
    on.settle()
    fenced = error_for(409, {"type": f"{PROBLEM_PREFIX}session-fenced", "detail": "Another pod.", "epoch": 7})
    on.hosts.refusal = fenced
    on.ask()
    on.settle()
    on.start_pods()
    on.settle()
    assert on.says() == ("False", "HostNotReady")
    on.hosts.refusal = None
    on.look()
    on.settle()
    assert on.says() == ("True", "Running")
    assert on.hosts.given[-1].epoch == 8
    assert on.deletions() == 0


def test_a_terminal_pod_is_deleted_and_followed_by_another() -> None:
    on = awake()
    on.world.set_pod(next(iter(on.world.pods())), kubelet.evicted())
    on.settle()
    assert on.pods() == [own_pod(2)]
    assert on.deletions() == 1


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (kubelet.pending(), "Reconciling", "Waking"),
        (kubelet.creating(), "Reconciling", "Waking"),
        (not_ready(), "Reconciling", "Waking"),
        (kubelet.unschedulable(), "Reconciling", "Unschedulable"),
        (kubelet.creating("ImagePullBackOff"), "Stalled", "ImagePullFailed"),
        (kubelet.creating("CreateContainerError", "no such file"), "Stalled", "StartFailed"),
    ],
)
def test_what_a_starting_pod_waits_for_is_said(status: Json, kind: str, reason: str) -> None:
    on = start()
    on.settle()
    on.ask()
    on.settle()
    on.world.set_pod(next(iter(on.world.pods())), status)
    assert on.settle() <= 3
    assert on.says(kind) == ("True", reason)
    assert on.events() == ([reason] if kind == "Stalled" else [])
    on.idle(3600)
    assert on.settle() == 0, "to wait is no write"
    on.world.set_pod(next(iter(on.world.pods())), serving())
    on.settle()
    assert on.says() == ("True", "Running")


def test_a_host_that_does_not_answer_is_tried_again() -> None:
    on = start()
    on.settle()
    on.hosts.refusal = Unreachable(0, "unreachable", "")
    on.wake()
    assert on.says("Reconciling") == ("True", "HostUnreachable")
    on.hosts.refusal = None
    on.settle()
    assert on.says() == ("True", "Running")


def test_a_container_that_was_restarted_in_place_is_given_the_session_again() -> None:
    on = awake()
    on.hosts.held.clear()
    on.hosts.beginning = Beginning.RESUMED
    on.hear()
    on.settle()
    assert on.says() == ("True", "Running")
    assert len(on.hosts.given) == 2
    assert on.session().status.restarts == 1
    assert on.pods() == [own_pod(1)]
