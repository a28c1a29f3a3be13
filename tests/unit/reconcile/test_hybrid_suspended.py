"""A session that is suspended while its host is not ready: what only the host has must not go with it."""

import pytest

from agentsessions.kube.paths import PODS, SESSIONS
from unit.hybrid import NAME, UID, Stage, awake, in_pool, not_ready, own_pod
from unit.make import NAMESPACE


def suspend(on: Stage) -> None:
    """Have somebody suspend the session."""
    on.world.objects[SESSIONS, NAMESPACE, NAME]["spec"]["suspended"] = True


@pytest.mark.requirement("H03", "H30")
def test_a_pod_that_is_not_ready_for_a_moment_is_not_deleted() -> None:
    on = awake()
    on.tell(durable=False, store_problem="StoreUnreachable")
    on.settle()
    on.world.set_pod(next(iter(on.world.pods())), not_ready())
    on.settle()
    suspend(on)
    on.settle()
    assert on.pods() == [own_pod(1)]


@pytest.mark.requirement("H03", "H30")
def test_a_host_of_a_pool_that_is_not_ready_keeps_the_session() -> None:
    on = in_pool()
    on.settle()
    on.wake()
    host = on.session().status.host
    assert host is not None
    on.tell(durable=False, store_problem="StoreUnreachable")
    on.settle()
    on.world.objects[PODS, NAMESPACE, host.pod]["status"] = not_ready()
    on.settle()
    suspend(on)
    on.settle()
    assert any(UID in held for held in on.hosts.held.values())
