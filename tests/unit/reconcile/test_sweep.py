"""Shared policies go when nobody needs them any more, and not before."""

from datetime import timedelta

import pytest

from agentsessions.api.names import network_policy_name
from agentsessions.kube.errors import Conflict
from agentsessions.kube.paths import NETWORK_POLICIES
from agentsessions.reconcile.sweep import QUIET, sweep
from unit import kubelet
from unit.make import NAMESPACE, make_session
from unit.operator_at_work import finish, start_world
from unit.world import Request, World


def policies(world: World) -> list[str]:
    """Return the names of the policies there are."""
    return [body["metadata"]["name"] for body in world.of(NETWORK_POLICIES)]


def after_the_end() -> World:
    """Return a world whose only session is over, some time after."""
    world, operator = start_world()
    operator.settle()
    (pod,) = world.pods()
    world.set_pod(pod, kubelet.ended(0))
    operator.settle()
    world.now += QUIET + timedelta(seconds=1)
    return world


def test_a_policy_that_nobody_needs_any_more_is_removed() -> None:
    world = after_the_end()
    finish(sweep(world, [], world.now))  # type: ignore[arg-type]
    assert policies(world) == []


@pytest.mark.parametrize("namespaces", [["elsewhere"], ["elsewhere", "there"]])
def test_only_the_watched_namespaces_are_swept(namespaces: list[str]) -> None:
    world = after_the_end()
    finish(sweep(world, namespaces, world.now))  # type: ignore[arg-type]
    assert len(policies(world)) == 1


def test_a_young_policy_is_left_to_the_session_that_is_starting() -> None:
    world = after_the_end()
    world.now -= timedelta(seconds=1)
    finish(sweep(world, [], world.now))  # type: ignore[arg-type]
    assert len(policies(world)) == 1


def test_a_policy_stays_while_a_pod_is_under_it() -> None:
    world, operator = start_world(make_session().with_spec(pod_retention_policy="Retain"))
    operator.settle()
    (pod,) = world.pods()
    world.set_pod(pod, kubelet.ended(0))
    operator.settle()
    world.now += QUIET * 2
    finish(sweep(world, [], world.now))  # type: ignore[arg-type]
    assert len(policies(world)) == 1


def test_policies_of_others_are_not_ours_to_remove() -> None:
    world = after_the_end()
    name = network_policy_name("mine")
    world.add(NETWORK_POLICIES, {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {}})
    world.now += QUIET * 2
    finish(sweep(world, [], world.now))  # type: ignore[arg-type]
    assert policies(world) == [name]


def test_a_policy_that_was_made_anew_meanwhile_is_not_removed() -> None:
    world = after_the_end()

    def remake(moment: str, request: Request) -> None:
        if moment == "before" and request.verb == "DELETE":
            (old,) = world.of(NETWORK_POLICIES)
            world.remove(NETWORK_POLICIES, NAMESPACE, old["metadata"]["name"])
            del old["metadata"]["uid"]
            world.add(NETWORK_POLICIES, old)

    world.around = remake
    finish(sweep(world, [], world.now))  # type: ignore[arg-type]
    assert len(policies(world)) == 1


def test_the_world_of_these_tests_keeps_preconditions() -> None:
    world = after_the_end()
    with pytest.raises(Conflict):
        finish(world.delete(NETWORK_POLICIES, NAMESPACE, policies(world)[0], uid="other"))
