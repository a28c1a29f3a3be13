"""What has no owner goes when nobody needs it any more, and not before: shared policies, cleanup pods."""

from datetime import timedelta

import pytest

from agentsessions.api.names import (
    LABEL_NETWORK_POLICY,
    LABEL_SESSION,
    LABEL_SESSION_UID,
    cleanup_name,
    network_policy_name,
)
from agentsessions.kube.errors import Conflict, Refused
from agentsessions.kube.paths import CONTROLLER_REVISIONS, NETWORK_POLICIES, SESSIONS
from agentsessions.reconcile.sweep import QUIET, sweep
from unit import kubelet
from unit.hybrid import KEY, NAME, STORE, UID, Stage, awake, make_nap
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


def test_a_copy_of_our_policy_is_not_ours_to_remove() -> None:
    world = after_the_end()
    (ours,) = world.of(NETWORK_POLICIES)
    world.add(NETWORK_POLICIES, ours | {"metadata": ours["metadata"] | {"name": "ours-and-more"}})
    world.now += QUIET * 2
    finish(sweep(world, [], world.now))  # type: ignore[arg-type]
    assert policies(world) == ["ours-and-more"]


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


def cleaning_up() -> Stage:
    """Return a stage whose session is being deleted, and whose cleanup pod runs for ever."""
    on = awake(make_nap(sessionStore=STORE | {"onDelete": "Delete"}))
    finish(on.world.delete(SESSIONS, *KEY))
    on.settle()
    on.end_pods()
    on.settle()
    assert on.pods() == [cleanup_name(NAME, UID)]
    on.world.now += QUIET + timedelta(seconds=1)
    return on


def let_go(on: Stage) -> None:
    """Let a user take the finalizer off, so that the session is gone at once."""
    on.world.remove(SESSIONS, *KEY)


def test_a_cleanup_pod_whose_session_somebody_let_go_is_removed() -> None:
    on = cleaning_up()
    let_go(on)
    finish(sweep(on.world, [], on.world.now))  # type: ignore[arg-type]
    assert on.pods() == []


def test_a_cleanup_pod_goes_also_if_another_session_has_the_name_by_now() -> None:
    on = cleaning_up()
    let_go(on)
    on.world.add(SESSIONS, make_nap(uid="33333333-3333-4333-8333-333333333333").json())
    finish(sweep(on.world, [], on.world.now))  # type: ignore[arg-type]
    assert on.pods() == []


@pytest.mark.parametrize("seconds", [0, -2])
def test_a_cleanup_pod_at_work_is_left_alone_and_so_is_a_young_one(seconds: int) -> None:
    on = cleaning_up()
    if seconds:
        let_go(on)
        on.world.now += timedelta(seconds=seconds)
    finish(sweep(on.world, [], on.world.now))  # type: ignore[arg-type]
    assert on.pods() == [cleanup_name(NAME, UID)]


@pytest.mark.parametrize("label", [LABEL_SESSION, LABEL_SESSION_UID])
def test_a_pod_that_only_bears_our_labels_is_not_removed(label: str) -> None:
    on = cleaning_up()
    let_go(on)
    (pod,) = on.world.pods()
    pod["metadata"]["labels"][label] = "other"
    finish(sweep(on.world, [], on.world.now))  # type: ignore[arg-type]
    assert on.pods() == [cleanup_name(NAME, UID)]


def test_without_the_right_to_read_histories_policies_stay_and_the_rest_is_swept() -> None:
    on = cleaning_up()
    let_go(on)
    unused = after_the_end().of(NETWORK_POLICIES)[0]
    labels = unused["metadata"]["labels"] | {LABEL_NETWORK_POLICY: "unused"}
    meta = {"name": network_policy_name("unused"), "labels": labels}
    on.world.add(NETWORK_POLICIES, unused | {"metadata": unused["metadata"] | meta})
    on.world.now += QUIET * 2

    def refuse(moment: str, request: Request) -> None:
        if request.plural == CONTROLLER_REVISIONS.plural:
            raise Refused(403, "controllerrevisions.apps is forbidden", "Forbidden")

    on.world.around = refuse
    finish(sweep(on.world, [], on.world.now))  # type: ignore[arg-type]
    assert network_policy_name("unused") in policies(on.world)
    assert on.pods() == []
