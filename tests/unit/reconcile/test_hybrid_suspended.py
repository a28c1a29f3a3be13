"""A session that is suspended while its host is not ready: what only the host has must not go with it."""

import pytest

from agentsessions.api.status import Transcript, Usage
from agentsessions.kube.paths import PODS, SESSIONS
from unit import kubelet
from unit.hybrid import NAME, UID, Stage, awake, in_pool, not_ready, own_pod
from unit.make import NAMESPACE, stamp


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


@pytest.mark.requirement("H03", "H30")
@pytest.mark.parametrize("reason", ["HostLost", "Evicted"])
def test_one_that_is_suspended_while_its_pod_is_taken_keeps_what_its_host_last_told(reason: str) -> None:
    on = awake()
    on.tell(usage=Usage(turns=7), transcript=Transcript(entries=40))
    on.settle()
    on.idle(600)
    suspend(on)
    (pod,) = on.world.pods()
    pod["metadata"]["deletionTimestamp"] = stamp(on.world.now)
    if reason == "Evicted":
        on.world.set_pod(pod, pod["status"] | {"conditions": kubelet.drained()["conditions"]})
    on.settle()
    on.tell(usage=Usage(turns=9), transcript=Transcript(entries=60))  # of the turn that runs to its end
    on.settle()
    status = on.session().status
    assert on.says()[0] == "False", "it still has a pod"
    assert (status.usage, status.transcript) == (Usage(turns=9), Transcript(entries=60))
    on.idle(30)
    on.end_pods()
    on.settle()
    status = on.session().status
    assert (on.says(), status.host) == (("True", "Suspended"), None)
    assert status.suspend_time == on.world.now
    assert status.transcript == Transcript(entries=60), "the next wake is held against all of it"
    assert status.last_termination is not None
    assert (status.last_termination.reason, status.last_termination.pod) == (reason, own_pod(1))
    assert on.settle() == 0


@pytest.mark.parametrize("reason", ["HostLost", "Evicted"])
def test_one_whose_pod_has_vanished_sleeps_from_then_on(reason: str) -> None:
    on = awake()
    on.idle(600)
    suspend(on)
    if reason == "Evicted":
        (pod,) = on.world.pods()
        on.world.set_pod(pod, kubelet.drained())
        on.lasting.deleted.remember(pod)
    on.lose(own_pod(1))
    on.settle()
    status = on.session().status
    assert (on.says(), status.suspend_time) == (("True", "Suspended"), on.world.now)
    assert status.last_termination is not None
    assert status.last_termination.reason == reason
