"""Hosts that a kubelet stops without anybody having deleted their pod: what becomes of their sessions waits for why."""

import pytest

from agentsessions.api.status import Archive, Usage
from agentsessions.kube.paths import SESSIONS
from unit import kubelet
from unit.hybrid import NAME, Stage, awake, in_pool, own_pod, serving


def exit_of(on: Stage) -> None:
    """Let the host's container end well, before the kubelet says why."""
    (pod,) = on.world.pods()
    container = kubelet.ended(0, at=on.world.now)["containerStatuses"]
    on.world.set_pod(pod, serving() | {"containerStatuses": container})
    on.settle()


@pytest.mark.requirement("K02")
@pytest.mark.parametrize("seen_to_exit", [False, True])
def test_one_that_is_evicted_while_it_has_nothing_to_do_tells_of_that(seen_to_exit: bool) -> None:
    on = awake()
    on.stop_host()
    on.settle()
    assert on.says() == ("False", "HostNotReady")
    assert on.pods() == [own_pod(1)], "what it ends with is to be seen"
    if seen_to_exit:
        exit_of(on)
        assert on.session().status.last_termination is None, "it is no end in place: the kubelet starts it no more"
    (pod,) = on.world.pods()
    on.world.set_pod(pod, kubelet.evicted(kubelet.EVICTED_DISK, exit_code=0))
    on.settle()
    status = on.session().status
    assert status.last_termination is not None
    assert (status.last_termination.reason, status.last_termination.in_place) == ("EphemeralStorageExceeded", None)
    assert (status.restarts, status.failures) == (1, 1)
    assert on.pods() == [own_pod(2)]


def test_what_it_told_last_is_kept() -> None:
    on = awake()
    archive = Archive(size=5, time=on.world.now)
    on.tell(usage=Usage(turns=7), archive=archive)
    on.stop_host()
    on.settle()
    assert on.session().status.usage == Usage(turns=7)
    assert on.session().status.archive == archive


@pytest.mark.requirement("K02", "H03")
def test_one_that_is_to_be_suspended_rests_when_its_end_is_told() -> None:
    on = awake()
    on.world.edit(SESSIONS, NAME, suspended=True)
    on.stop_host()
    on.settle()
    assert on.session().status.host is not None
    (pod,) = on.world.pods()
    on.world.set_pod(pod, kubelet.evicted(kubelet.EVICTED_DISK))
    on.settle()
    on.end_pods()
    on.settle()
    assert on.says() == ("True", "Suspended")
    last = on.session().status.last_termination
    assert last is not None
    assert last.reason == "EphemeralStorageExceeded"


def test_one_whose_host_starts_anew_in_place_goes_on_there() -> None:
    on = awake()
    uid = on.stop_host()
    on.settle()
    exit_of(on)
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


def test_in_a_pool_it_stays_with_its_host_until_that_is_gone() -> None:
    on = in_pool()
    on.wake()
    before = on.session().status.host
    on.stop_host()
    on.settle()
    assert on.session().status.host == before
    assert on.says()[1] == "HostNotReady"


def test_one_that_was_put_away_because_it_was_asked_sleeps() -> None:
    on = awake()
    on.idle(301)
    on.look()
    on.stores()
    on.settle()
    assert on.says() == ("True", "Asleep")
