"""A session that is deleted while it runs: its agent is told to end its turn, unlike that of one that is drained."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from agentsessions.api.base import Json
from agentsessions.api.names import LABEL_HOST, LABEL_SESSION_UID
from agentsessions.hosts.client import HostAddress
from agentsessions.hosts.errors import HostError, Refused, Unreachable
from agentsessions.kube.paths import PODS, SESSIONS
from unit import kubelet
from unit.make import NAMESPACE, UID, make_session
from unit.operator_at_work import Operator, start_world
from unit.situations import DONE, pod_of
from unit.world import World

IP = "10.0.0.9"


@dataclass
class Asked:
    """Agents that note what they are asked, and answer with an error if there is one."""

    error: HostError | None = None
    interrupts: list[tuple[HostAddress, str]] = field(default_factory=list)

    async def interrupt(self, host: HostAddress, session_id: str) -> None:
        """Note it."""
        self.interrupts.append((host, session_id))
        if self.error is not None:
            raise self.error


def at_work(grace: int, error: HostError | None = None) -> tuple[World, Operator, Asked]:
    """Return a world in which the session's agent runs."""
    world, operator = start_world(make_session().with_spec(terminationGracePeriodSeconds=grace))
    operator.agents = asked = Asked(error)
    operator.settle()
    world.set_pod(pod_of(world), kubelet.running() | {"podIP": IP})
    operator.settle()
    return world, operator, asked


def live(world: World) -> Json:
    """Return the pod itself, to be changed."""
    meta = pod_of(world)["metadata"]
    return world.objects[(PODS, NAMESPACE, meta["name"])]


def gone(world: World) -> None:
    """Take the session away, and not yet what the garbage collector takes after it."""
    del world.objects[(SESSIONS, NAMESPACE, "hello")]


def collected(world: World) -> None:
    """Let the garbage collector delete the pod, with all of its grace."""
    world.delete_gracefully(PODS, live(world))


@pytest.mark.requirement("K01")
def test_the_agent_of_a_deleted_session_is_told_to_end_its_turn_until_it_has_ended() -> None:
    world, operator, asked = at_work(600)
    gone(world)
    collected(world)
    assert operator.look() == 0, "its pod is deleted already, with a grace that nobody can shorten"
    meta = live(world)["metadata"]
    assert asked.interrupts == [(HostAddress(meta["name"], meta["uid"], IP), UID)]
    assert operator.requeue == timedelta(seconds=10)
    world.set_pod(pod_of(world), kubelet.ended(message=DONE))
    assert operator.look() == 0
    assert (operator.requeue, len(asked.interrupts)) == (None, 1)


@pytest.mark.requirement("K01")
def test_a_pod_that_nobody_has_deleted_runs_on_though_its_session_is_not_found() -> None:
    world, operator, asked = at_work(600)
    gone(world)
    assert operator.look() == 0
    assert (operator.requeue, asked.interrupts) == (None, [])


@pytest.mark.parametrize("grace", [0, 5, 20])
def test_an_agent_with_a_short_grace_is_left_to_it(grace: int) -> None:
    world, operator, asked = at_work(grace)
    gone(world)
    collected(world)
    operator.look()
    assert (operator.requeue, asked.interrupts) == (None, [])


@pytest.mark.parametrize("error", [Refused(409, "nothing-running", ""), Unreachable(0, "no-answer", "")])
def test_an_agent_that_does_not_do_it_is_asked_again(error: HostError) -> None:
    world, operator, asked = at_work(600, error)
    gone(world)
    collected(world)
    for _ in range(3):
        operator.look()
        assert operator.requeue == timedelta(seconds=10)
    assert len(asked.interrupts) == 3


def test_an_agent_without_an_address_has_nothing_to_end_yet() -> None:
    world, operator, asked = at_work(600)
    live(world)["status"].pop("podIP")
    gone(world)
    collected(world)
    operator.look()
    assert (operator.requeue, asked.interrupts) == (timedelta(seconds=10), [])


def test_where_no_pod_of_a_task_listens_none_is_looked_for() -> None:
    world, operator, _ = at_work(600)
    operator.agents = None
    gone(world)
    collected(world)
    before = len(world.requests)
    operator.look()
    assert [(one.verb, one.plural) for one in world.requests[before:]] == [("GET", "agentsessions")]


@pytest.mark.parametrize(("finalizer", "times"), [("foregroundDeletion", 1), ("orphan", 0)])
def test_a_session_that_waits_for_its_pods_to_go_has_them_go_and_one_that_leaves_them_behind_does_not(
    finalizer: str, times: int
) -> None:
    world, operator, asked = at_work(600)
    session = world.objects[(SESSIONS, NAMESPACE, "hello")]
    session["metadata"] |= {"finalizers": [finalizer], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    collected(world)
    operator.look()
    assert len(asked.interrupts) == times


def _orphaned(pod: Json) -> None:
    del pod["metadata"]["ownerReferences"]


def _of_another(pod: Json) -> None:
    pod["metadata"]["labels"][LABEL_SESSION_UID] = "another"


def _of_a_host(pod: Json) -> None:
    pod["metadata"]["labels"][LABEL_HOST] = "session"


@pytest.mark.parametrize("edit", [_orphaned, _of_another, _of_a_host])
def test_only_agents_of_that_very_session_are_asked(edit: Any) -> None:
    world, operator, asked = at_work(600)
    edit(live(world))
    gone(world)
    collected(world)
    operator.look()
    assert asked.interrupts == []


def test_an_agent_that_is_drained_is_not_asked() -> None:
    world, operator, asked = at_work(600)
    collected(world)
    operator.settle()
    assert asked.interrupts == []
