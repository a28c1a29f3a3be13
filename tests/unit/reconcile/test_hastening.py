"""A session that is deleted while it runs: its pod gets little of a long grace period, unlike one that is drained."""

from typing import Any

import pytest

from agentsessions.api.base import Json
from agentsessions.api.names import LABEL_HOST, LABEL_SESSION_UID
from agentsessions.kube.paths import PODS, SESSIONS
from unit import kubelet
from unit.make import NAMESPACE, make_session
from unit.operator_at_work import Operator, start_world
from unit.situations import DONE, pod_of
from unit.world import World


def at_work(grace: int) -> tuple[World, Operator]:
    """Return a world in which the session's agent runs."""
    world, operator = start_world(make_session().with_spec(terminationGracePeriodSeconds=grace))
    operator.settle()
    world.set_pod(pod_of(world), kubelet.running())
    operator.settle()
    return world, operator


def live(world: World) -> Json:
    """Return the pod itself, to be changed."""
    meta = pod_of(world)["metadata"]
    return world.objects[(PODS, NAMESPACE, meta["name"])]


def gone(world: World) -> None:
    """Take the session away, and not yet what the garbage collector takes after it."""
    del world.objects[(SESSIONS, NAMESPACE, "hello")]


def grace_of(world: World) -> Any:
    """Return the grace of the pod's deletion, if there is one."""
    return pod_of(world)["metadata"].get("deletionGracePeriodSeconds")


@pytest.mark.requirement("K01")
def test_the_pod_of_a_deleted_session_gets_no_long_grace() -> None:
    world, operator = at_work(600)
    gone(world)
    world.delete_gracefully(PODS, live(world))
    assert grace_of(world) == 600
    operator.settle()
    assert grace_of(world) == 20
    assert operator.look() == 0


@pytest.mark.requirement("K01")
def test_a_pod_that_nobody_has_deleted_runs_on_though_its_session_is_not_found() -> None:
    world, operator = at_work(600)
    gone(world)
    assert operator.look() == 0
    assert grace_of(world) is None


@pytest.mark.parametrize("grace", [0, 5, 20])
def test_a_short_grace_is_left_to_the_garbage_collector(grace: int) -> None:
    world, operator = at_work(grace)
    gone(world)
    world.delete_gracefully(PODS, live(world))
    assert operator.look() == 0


def test_a_pod_that_has_ended_is_left_to_the_garbage_collector() -> None:
    world, operator = at_work(600)
    world.set_pod(pod_of(world), kubelet.ended(message=DONE))
    gone(world)
    world.delete_gracefully(PODS, live(world))
    assert operator.look() == 0


@pytest.mark.parametrize(("finalizer", "grace"), [("foregroundDeletion", 20), ("orphan", 600)])
def test_a_session_that_waits_for_its_pods_to_go_has_them_go_and_one_that_leaves_them_behind_does_not(
    finalizer: str, grace: int | None
) -> None:
    world, operator = at_work(600)
    session = world.objects[(SESSIONS, NAMESPACE, "hello")]
    session["metadata"] |= {"finalizers": [finalizer], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    world.delete_gracefully(PODS, live(world))
    operator.settle()
    assert grace_of(world) == grace


def _orphaned(pod: Json) -> None:
    del pod["metadata"]["ownerReferences"]


def _of_another(pod: Json) -> None:
    pod["metadata"]["labels"][LABEL_SESSION_UID] = "another"


def _of_a_host(pod: Json) -> None:
    pod["metadata"]["labels"][LABEL_HOST] = "session"


@pytest.mark.parametrize("edit", [_orphaned, _of_another, _of_a_host])
def test_only_pods_of_that_very_session_are_touched(edit: Any) -> None:
    world, operator = at_work(600)
    edit(live(world))
    gone(world)
    world.delete_gracefully(PODS, live(world))
    assert operator.look() == 0


def test_a_pod_that_is_drained_keeps_all_of_its_grace() -> None:
    world, operator = at_work(600)
    world.delete_gracefully(PODS, live(world))
    operator.settle()
    assert grace_of(world) == 600
