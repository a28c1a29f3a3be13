"""Ends: deletion, deadlines, the time to live, and what goes with a session."""

from datetime import timedelta

import pytest

from agentsessions.kube.paths import CORE_EVENTS, EVENTS, PODS, SECRETS, SESSIONS
from unit import kubelet
from unit.make import NAMESPACE, NOW, SessionMaker, make_session
from unit.operator_at_work import Operator, start_world
from unit.situations import DONE, message, pod_of, ready
from unit.world import Request, World


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


@pytest.mark.requirement("H50")
@pytest.mark.parametrize(("grace", "given"), [(5, 5), (600, 20)])
def test_what_is_over_its_deadline_gets_no_long_grace(grace: int, given: int) -> None:
    limits = {"activeDeadlineSeconds": 100}
    world, operator = start_world(make_session().with_spec(limits=limits, terminationGracePeriodSeconds=grace))
    operator.settle()
    world.set_pod(pod_of(world), kubelet.running())
    world.now += timedelta(seconds=160)
    operator.settle()
    assert ready(world) == ("False", "DeadlineExceeded")
    assert pod_of(world)["metadata"]["deletionGracePeriodSeconds"] == given


def test_a_pod_that_starts_at_the_moment_of_its_deadline_runs_on() -> None:
    world, operator = start_world(make_session().with_spec(limits={"startDeadlineSeconds": 100}))
    operator.settle()
    world.set_pod(pod_of(world), kubelet.unschedulable("0/2 nodes are available."))
    operator.settle()
    world.now += timedelta(seconds=100)

    def starts(moment: str, request: Request) -> None:
        if moment == "before" and (request.verb, request.plural) == ("DELETE", PODS.plural):
            world.around = lambda *_: None
            world.set_pod(pod_of(world), kubelet.running())

    world.around = starts
    operator.look()
    assert operator.requeue == timedelta()
    operator.settle()
    assert ready(world) == ("True", "Running")
    assert "deletionTimestamp" not in pod_of(world)["metadata"]
    assert world.of(EVENTS) == []


@pytest.mark.requirement("H50")
def test_a_pod_that_does_not_start_in_time_ends_the_session_with_the_schedulers_words() -> None:
    world, operator = start_world(make_session().with_spec(limits={"startDeadlineSeconds": 100}))
    operator.settle()
    world.set_pod(pod_of(world), kubelet.unschedulable("0/2 nodes are available: 2 Insufficient memory."))
    world.now += timedelta(seconds=90)
    operator.settle()
    assert ready(world) == ("False", "Unschedulable")
    assert operator.requeue == timedelta(seconds=10)
    world.set_pod(pod_of(world), kubelet.unschedulable("0/2 nodes are available: 2 Too many pods."))
    world.now += timedelta(seconds=10)
    operator.look()
    assert ready(world) == ("False", "StartDeadlineExceeded")
    assert world.session().status.condition("Succeeded").status == "False"  # type: ignore[union-attr]
    assert "within 100 seconds (`limits.startDeadlineSeconds`)" in message(world)
    assert message(world).endswith("2 Too many pods.")
    assert list(world.pods()) == []
    assert [event["reason"] for event in world.of(EVENTS)] == ["StartDeadlineExceeded"]
    assert operator.look() == 0


def test_a_pod_that_started_in_time_is_left_alone_by_that_deadline() -> None:
    world, operator = start_world(make_session().with_spec(limits={"startDeadlineSeconds": 100}))
    operator.settle()
    world.set_pod(pod_of(world), kubelet.running())
    world.now += timedelta(seconds=200)
    operator.settle()
    assert ready(world) == ("True", "Running")


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


@pytest.mark.parametrize(("apart", "in_a_row", "waits"), [(60, 3, True), (600, 1, False)])
def test_disruptions_lengthen_the_pause_only_when_they_follow_closely(apart: int, in_a_row: int, waits: bool) -> None:
    world, operator = start_world(make_session().with_spec(limits={"activeDeadlineSeconds": 86400}))
    for number in range(3):
        world.now += timedelta(seconds=apart)
        operator.settle()
        world.set_pod(pod_of(world), kubelet.running())
        operator.settle()
        world.now += timedelta(seconds=apart)
        world.set_pod(pod_of(world), kubelet.evicted(at=world.now))
        operator.settle()
        assert world.session().status.restarts == number + 1
    assert (world.session().status.disruptions, world.session().status.failures) == (in_a_row, 0)
    assert (ready(world)[1] == "BackOff") is waits


def deleted_at_work(maker: SessionMaker) -> tuple[World, Operator, str]:
    """Return the world in which the pod of a session at work is deleted, nobody saying that it ended; and its name."""
    world, operator = start_world(maker)
    operator.settle()
    world.set_pod(pod_of(world), kubelet.running())
    operator.settle()
    name = str(pod_of(world)["metadata"]["name"])
    world.delete_gracefully(PODS, world.objects[PODS, NAMESPACE, name])
    operator.settle()
    return world, operator, name


def test_a_pod_that_was_lost_with_its_node_is_followed_by_another_attempt() -> None:
    world, operator, lost = deleted_at_work(make_session())
    assert operator.requeue is not None
    world.now += timedelta(seconds=29)
    operator.settle()
    assert [pod["metadata"]["name"] for pod in world.pods()] == [lost]
    world.now += timedelta(seconds=1)
    operator.settle()
    assert lost not in [pod["metadata"]["name"] for pod in world.pods()]
    last = world.session().status.last_termination
    assert last is not None
    assert (last.reason, last.pod, world.session().status.restarts) == ("NodeLost", lost, 1)
    assert ready(world) in [("False", "Starting"), ("False", "BackOff")]
    assert world.session().status.failures == 0


def test_a_lost_pod_that_may_still_write_to_a_volume_is_waited_for_and_said_to_be_lost() -> None:
    world, operator, lost = deleted_at_work(make_session().with_storage("1Gi"))
    assert ready(world) == ("True", "Running")
    for _ in range(10):  # only by the looks that the operator itself wants
        assert operator.requeue is not None
        world.now += operator.requeue
        operator.settle()
        if ready(world) == ("False", "NodeLost"):
            break
    assert ready(world) == ("False", "NodeLost")
    assert [pod["metadata"]["name"] for pod in world.pods()] == [lost]
    assert operator.look() == 0, "it says so once"
    world.set_pod(world.objects[PODS, NAMESPACE, lost], kubelet.node_lost())
    operator.settle()
    last = world.session().status.last_termination
    assert last is not None
    assert (last.reason, last.pod, world.session().status.restarts) == ("NodeLost", lost, 1)


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


@pytest.mark.parametrize(
    ("posted", "told"),
    [
        pytest.param(("Evicted", kubelet.EVICTED_NODE), ("Evicted", 0), id="pressure"),
        pytest.param(("Evicted", kubelet.EVICTED_DISK), ("EphemeralStorageExceeded", 1), id="own-disk"),
        pytest.param(("Preempted", "Preempted by pod 1 on node n1"), ("Evicted", 0), id="preempted"),
        pytest.param(("TaintManagerEviction", kubelet.MARKED), ("Evicted", 0), id="tainted"),
        pytest.param(("Killing", "Stopping container agent"), ("PodDeleted", 0), id="nobody-says"),
    ],
)
def test_the_end_of_a_pod_that_nobody_saw_is_told_by_events(posted: tuple[str, str], told: tuple[str, int]) -> None:
    world, operator = start_world()
    operator.settle()
    pod = pod_of(world)
    world.set_pod(pod, kubelet.running())
    operator.settle()
    world.add(CORE_EVENTS, kubelet.event(pod, *posted, NOW))
    world.remove(PODS, NAMESPACE, pod["metadata"]["name"])
    operator.restart()
    operator.settle()
    status = world.session().status
    assert status.last_termination is not None
    assert (status.last_termination.reason, status.failures) == told
    assert (status.last_termination.pod_uid, status.restarts) == (pod["metadata"]["uid"], 1)


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


def test_a_session_that_somebody_is_at_is_not_deleted_under_his_hands() -> None:
    world, operator = start_world(make_session().with_spec(ttl_seconds_after_finished=0))
    operator.settle()
    world.set_pod(pod_of(world), kubelet.ended(0, finished=NOW))
    operator.look()

    def keep(moment: str, request: Request) -> None:
        if (moment, request.verb, request.plural) == ("before", "DELETE", "agentsessions"):
            world.around = lambda *_: None
            world.edit(SESSIONS, "hello", ttlSecondsAfterFinished=None)

    world.around = keep
    operator.look()
    operator.settle()
    assert len(world.of(SESSIONS)) == 1


def test_times_in_status_have_whole_seconds_as_elsewhere_in_kubernetes() -> None:
    world, operator = start_world()
    world.now += timedelta(microseconds=123_456)
    operator.settle()
    assert {c.last_transition_time for c in world.session().status.conditions} == {NOW}


@pytest.mark.requirement("K04")
def test_new_words_of_the_scheduler_are_passed_on_and_its_figures_are_not() -> None:
    world, operator = start_world()
    operator.settle()

    def said(message: str) -> str:
        world.set_pod(pod_of(world), kubelet.unschedulable(message))
        operator.settle()
        ready = world.session().status.condition("Ready")
        assert ready is not None
        return ready.message

    first = said(
        "0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient memory. preemption: 0/3 nodes are available."
    )
    assert "1 Insufficient cpu, 2 Insufficient memory" in first
    assert (
        said("0/4 nodes are available: 1 Insufficient memory, 3 Insufficient cpu. preemption: 0/4 nodes are available.")
        == first
    )
    assert "untolerated taint" in said(
        "0/4 nodes are available: 1 Insufficient cpu, 3 node(s) had untolerated taint {a: b}."
    )
