"""A task that ended at a bound, and whose bound is raised: it goes on where its volume has all there was of it."""

from datetime import timedelta

import pytest

from agentsessions.kube.paths import SESSIONS
from unit import kubelet
from unit.make import NAMESPACE, NOW, SessionMaker, make_report, make_session
from unit.operator_at_work import Operator, start_world
from unit.situations import pod_of, ready
from unit.world import World

SPENT = make_report(outcome="Failed", reason="MaxTurnsExceeded", retryable=False)
STORED = make_session().with_storage("1Gi")


def ended(maker: SessionMaker, reason: str) -> tuple[World, Operator]:
    """Return the world after the session has ended at that bound: of 5 turns, or of 100 seconds."""
    world, operator = start_world(maker.with_spec(agent={"maxTurns": 5}, limits={"activeDeadlineSeconds": 100}))
    operator.settle()
    world.set_pod(pod_of(world), kubelet.running())
    operator.settle()
    world.now += timedelta(seconds=101)
    spent = kubelet.ended(64, message=SPENT) if reason == "MaxTurnsExceeded" else kubelet.deadline_exceeded(at=NOW)
    world.set_pod(pod_of(world), spent)
    operator.settle()
    assert ready(world) == ("False", reason)
    return world, operator


@pytest.mark.requirement("H50")
@pytest.mark.parametrize(
    ("reason", "more"),
    [
        ("MaxTurnsExceeded", {"agent": {"maxTurns": 6}}),
        ("DeadlineExceeded", {"limits": {"activeDeadlineSeconds": 101}}),
    ],
)
def test_a_raised_bound_begins_another_attempt_on_the_same_volume(reason: str, more: dict[str, object]) -> None:
    world, operator = ended(STORED, reason)
    assert operator.look() == 0
    world.now += timedelta(hours=2)
    world.edit(SESSIONS, "hello", **more)
    operator.settle()
    status = world.session().status
    assert (status.completion_time, status.restarts, status.failures) == (None, 1, 0)
    assert ready(world) == ("False", "Starting")
    world.set_pod(pod_of(world), kubelet.running(at=world.now))
    operator.settle()
    assert ready(world) == ("True", "Running"), "its deadline counts anew"
    world.set_pod(pod_of(world), kubelet.ended(0, message=make_report(), at=world.now))
    operator.settle()
    assert ready(world) == ("True", "Completed")
    assert operator.look() == 0


@pytest.mark.parametrize(
    ("maker", "change"),
    [
        pytest.param(STORED, {"agent": {"maxTurns": 5}}, id="not-more"),
        pytest.param(STORED, {"agent": {"maxTurns": 4}}, id="fewer"),
        pytest.param(STORED, {"agent": {}}, id="by-its-template"),
        pytest.param(STORED, {"limits": {"activeDeadlineSeconds": 1000}}, id="another-bound"),
        pytest.param(make_session(), {"agent": {"maxTurns": 6}}, id="no-volume"),
    ],
)
def test_what_gives_it_no_more_of_what_it_lacked_leaves_it_ended(
    maker: SessionMaker, change: dict[str, object]
) -> None:
    world, operator = ended(maker, "MaxTurnsExceeded")
    before = world.session().status
    world.edit(SESSIONS, "hello", **change)
    operator.settle()
    after = world.session().status
    assert (after.completion_time, after.restarts) == (before.completion_time, 0)
    assert after.observed_generation == world.session().metadata.generation


def test_a_pod_that_may_still_live_is_waited_for() -> None:
    """The operator itself ended it, a minute after its node should have."""
    world, operator = start_world(STORED.with_spec(limits={"activeDeadlineSeconds": 100}))
    operator.settle()
    world.set_pod(pod_of(world), kubelet.running())
    operator.settle()
    world.now += timedelta(seconds=161)
    operator.settle()
    assert ready(world) == ("False", "DeadlineExceeded")
    pod = pod_of(world)
    assert "deletionTimestamp" in pod["metadata"]
    world.edit(SESSIONS, "hello", limits={"activeDeadlineSeconds": 1000})
    operator.settle()
    assert world.session().status.restarts == 0
    world.set_pod(pod, kubelet.ended(143))
    operator.settle()
    assert (world.session().status.restarts, ready(world)) == (1, ("False", "Starting"))


def test_what_was_changed_before_its_end_has_been_taken_note_of() -> None:
    world, operator = ended(STORED, "MaxTurnsExceeded")
    body = world.objects[SESSIONS, NAMESPACE, "hello"]
    body["spec"] |= {"agent": {"maxTurns": 50}}  # an end that status tells of is of this generation
    operator.settle()
    assert world.session().status.restarts == 0
