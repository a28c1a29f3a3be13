"""Hosts that a kubelet stops without anybody having deleted their pod: what becomes of their sessions waits for why."""

from datetime import timedelta

import pytest

from agentsessions.api.base import Json
from agentsessions.api.status import Archive, Usage
from agentsessions.kube.paths import PODS, SESSIONS
from unit import kubelet
from unit.hybrid import NAME, Stage, awake, in_pool, make_nap, not_ready, own_pod, serving
from unit.make import NAMESPACE
from unit.reconcile.test_hybrid_restarts import cut


def stopped(on: Stage, *, at_work: bool = False) -> str:
    """Let a kubelet stop the session's host; return the pod's uid."""
    (pod,) = on.world.pods()
    uid = str(pod["metadata"]["uid"])
    on.stop_host(uid, at_work=at_work)
    on.settle()
    assert on.says() == ("False", "HostNotReady")
    assert on.pods() == [own_pod(1)], "how it ends is to be seen"
    return uid


def exits(on: Stage) -> None:
    """Let the host's container end well, before the kubelet says what follows."""
    (pod,) = on.world.pods()
    container = kubelet.ended(0, at=on.world.now)["containerStatuses"]
    on.world.set_pod(pod, not_ready() | {"containerStatuses": container})
    cut(on)
    on.settle()


def ends(on: Stage, status: Json) -> None:
    """Let the pod be over."""
    (pod,) = on.world.pods()
    on.world.set_pod(pod, status)
    cut(on)
    on.settle()


@pytest.mark.requirement("K02", "H03")
@pytest.mark.parametrize("seen_to_exit", [False, True])
def test_one_that_is_evicted_while_it_has_nothing_to_do_tells_of_that_and_sleeps(seen_to_exit: bool) -> None:
    on = awake()
    on.tell(usage=Usage(turns=7))
    stopped(on)
    if seen_to_exit:
        exits(on)
        assert on.session().status.last_termination is None, "it is no end in place: the kubelet starts it no more"
        assert on.says() == ("False", "HostNotReady"), "it stops, and does not wake"
    on.tell(archive=Archive(size=5))
    before = on.status_writes()
    ends(on, kubelet.evicted(kubelet.EVICTED_DISK, exit_code=0))
    status = on.session().status
    assert on.says() == ("True", "Asleep")
    assert status.last_termination is not None
    assert (status.last_termination.reason, status.last_termination.in_place) == ("EphemeralStorageExceeded", None)
    assert (status.last_termination.pod, status.last_termination.exit_code) == (own_pod(1), 0)
    assert (status.restarts, status.failures, status.usage, status.archive) == (0, 1, Usage(turns=7), Archive(size=5))
    assert (on.pods(), on.events(), on.status_writes()) == ([], ["EphemeralStorageExceeded"], before + 1)
    on.end_pods()
    on.idle(1)
    on.wake()
    assert on.says() == ("True", "Running")
    assert on.pods() == [own_pod(2)]


@pytest.mark.requirement("K02")
@pytest.mark.parametrize("busy", [True, False])
def test_an_eviction_that_only_an_event_tells_of_is_told(busy: bool) -> None:
    on = awake()
    if not busy:
        stopped(on)
    on.kubelet_posts("Evicted", kubelet.EVICTED_VOLUME, on.world.now)
    ends(on, kubelet.ended(0, at=on.world.now))
    last = on.last_end()
    assert (last.reason, last.message, last.exit_code) == ("EphemeralStorageExceeded", kubelet.EVICTED_VOLUME, 0)
    assert on.session().status.failures == 1


@pytest.mark.requirement("K02")
@pytest.mark.parametrize("busy", [True, False])
def test_an_eviction_that_nothing_tells_of_is_one_for_the_pods_own_use_of_disk(busy: bool) -> None:
    """A kubelet ends a pod that always restarts, and says nothing of it in its status, for nothing else."""
    on = awake()
    if not busy:
        stopped(on)
    ends(on, kubelet.ended(0, at=on.world.now))
    last = on.last_end()
    assert (last.reason, last.exit_code) == ("EphemeralStorageExceeded", 0)
    assert "says nothing else" in last.message
    assert (on.session().status.failures, on.session().status.disruptions) == (1, 0)


@pytest.mark.requirement("K02")
@pytest.mark.parametrize("asked_for", ["before", "after"])
def test_a_message_meanwhile_wakes_it_as_soon_as_its_pod_is_over(asked_for: str) -> None:
    on = awake()
    on.idle(1)
    stopped(on)
    if asked_for == "before":
        on.ask()
        on.settle()
    ends(on, kubelet.evicted())
    on.idle(1)
    if asked_for == "after":
        assert on.says() == ("True", "Asleep")
        on.ask()
    on.end_pods()
    on.settle()
    on.start_pods()
    on.settle()
    assert on.says() == ("True", "Running")
    assert on.last_end().reason == "Evicted"


def test_an_operator_that_has_heard_nothing_of_it_has_it_go_on_elsewhere() -> None:
    on = awake()
    stopped(on)
    on.restart()
    on.hosts.views.clear()
    (pod,) = on.world.pods()
    on.world.set_pod(pod, kubelet.evicted())
    on.settle()
    assert on.last_end().reason == "Evicted"
    assert on.pods() == [own_pod(2)]


def test_one_that_may_not_fail_at_all_says_that_it_has() -> None:
    on = awake(make_nap(backoffLimit=0))
    stopped(on)
    on.tell(usage=Usage(turns=7), archive=Archive(size=5))
    ends(on, kubelet.evicted(kubelet.EVICTED_DISK))
    assert on.says("Stalled") == ("True", "BackoffLimitExceeded")
    assert on.pods() == []
    assert (on.session().status.usage, on.session().status.archive) == (Usage(turns=7), Archive(size=5))


@pytest.mark.requirement("K02", "H03")
def test_one_that_was_at_work_goes_on_in_its_next_pod() -> None:
    on = awake()
    stopped(on, at_work=True)
    ends(on, kubelet.evicted())
    on.end_pods()
    on.settle()
    on.start_pods()
    on.settle()
    assert on.pods() == [own_pod(2)]
    assert on.says() == ("True", "Running")


@pytest.mark.requirement("K02", "H03")
def test_one_that_was_at_work_on_a_host_of_a_pool_does_not_sleep_and_goes_on_on_another() -> None:
    on = in_pool()
    on.wake()
    before = on.session().status.host
    assert before is not None
    assert before.pod_uid is not None
    on.stop_host(before.pod_uid, at_work=True)
    on.settle()
    assert on.session().status.host == before, "its files are there, and its host may begin anew"
    del on.world.objects[PODS, NAMESPACE, before.pod]
    on.settle()
    after = on.session().status.host
    assert after is not None
    assert after.pod != before.pod


def test_one_at_its_bound_says_so_still() -> None:
    on = awake(make_nap(limits={"maxSessionTurns": 7}))
    on.tell(usage=Usage(turns=7))
    stopped(on)
    ends(on, kubelet.evicted())
    assert on.says("Stalled") == ("True", "TurnLimitReached")
    assert on.session().status.host is None
    assert on.pods() == []


@pytest.mark.requirement("K02", "H03")
def test_one_that_is_to_be_suspended_rests_when_its_end_is_told() -> None:
    on = awake()
    on.world.edit(SESSIONS, NAME, suspended=True)
    stopped(on)
    ends(on, kubelet.evicted(kubelet.EVICTED_DISK))
    on.end_pods()
    on.settle()
    assert on.says() == ("True", "Suspended")
    assert on.last_end().reason == "EphemeralStorageExceeded"
    assert on.events() == ["EphemeralStorageExceeded"]


@pytest.mark.requirement("K02")
def test_one_whose_host_starts_anew_in_place_goes_on_there() -> None:
    on = awake()
    uid = stopped(on)
    exits(on)
    (pod,) = on.world.pods()
    containers = kubelet.restarted(1, 0, "Completed", on.world.now)["containerStatuses"]
    on.world.set_pod(pod, serving() | {"containerStatuses": containers})
    on.hosts.draining.discard(uid)
    on.tell(put_away=False)
    on.settle()
    assert on.says() == ("True", "Running")
    status = on.session().status
    assert status.last_termination is not None
    assert status.last_termination.in_place is True
    assert (status.restarts, on.pods()) == (1, [own_pod(1)])


def test_that_a_conversation_is_safe_now_is_not_left_out() -> None:
    on = awake()
    on.tell(durable=False, store_problem="StoreBehind")
    on.settle()
    assert on.says("TranscriptDurable")[0] == "False"
    on.tell(durable=True, store_problem=None)
    stopped(on)
    assert on.says("TranscriptDurable")[0] == "True"


@pytest.mark.requirement("K02")
def test_in_a_pool_it_waits_for_nobody_and_wakes_on_another_host() -> None:
    on = in_pool()
    on.wake()
    before = on.session().status.host
    assert before is not None
    assert before.pod_uid is not None
    on.stop_host(before.pod_uid)
    on.settle()
    assert on.says() == ("True", "Asleep")
    on.idle(1)
    on.wake()
    after = on.session().status.host
    assert after is not None
    assert after.pod != before.pod


def test_one_that_was_put_away_because_it_was_asked_sleeps() -> None:
    on = awake()
    on.idle(timedelta(minutes=6).total_seconds())
    on.look()
    on.stores()
    on.settle()
    assert on.says() == ("True", "Asleep")
