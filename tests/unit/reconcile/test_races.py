"""Two at once: stale writes, lost answers, late requests, objects replaced at the wrong moment."""

from contextlib import suppress

from agentsessions.api.status import Host
from agentsessions.kube.errors import Transient
from agentsessions.kube.paths import PODS, SESSIONS
from unit import kubelet
from unit.make import NAMESPACE
from unit.operator_at_work import Operator, crash_at, start_world
from unit.situations import DONE, pod_of, ready, stranger
from unit.world import Crash, Request


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
            world.around = crash_at(0, "after")
            with suppress(Crash):
                Operator(world).look()
            world.around = lambda *_: None

    world.around = land
    operator.look()
    assert ready(world) == ("False", "Starting")
    assert world.session().status.host == Host(
        pod=pod_of(world)["metadata"]["name"], pod_uid=pod_of(world)["metadata"]["uid"]
    )


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
