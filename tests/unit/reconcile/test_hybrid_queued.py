"""Hybrid sessions in the queue: a wake waits for its turn, a lost pod's successor too; nothing is counted twice."""

from datetime import timedelta

import pytest

from agentsessions.api.base import Json
from agentsessions.api.config import Admission, Bounds, Gateway, OperatorConfig
from agentsessions.directory.world import session_view
from agentsessions.kube.errors import Conflict
from agentsessions.kube.paths import POOLS, SESSIONS
from agentsessions.reconcile.model import Need
from unit.hybrid import KEY, NAME, STORE, Stage, awake, make_nap, make_pooled, not_ready, own_pod, start
from unit.lasting import make_pool
from unit.make import NOW, SessionMaker, later, make_session, stamp
from unit.world import Request

BOUNDED = OperatorConfig(gateway=Gateway(enabled=True), admission=Admission(per_namespace=Bounds(running=1), waking=1))
NEIGHBOUR = make_session("neighbour").build()


def full(maker: SessionMaker | None = None) -> Stage:
    """Return a stage on which somebody else has the only place, and the session sleeps."""
    on = start(maker, config=BOUNDED)
    on.settle()
    assert on.lasting.admission.turn(NEIGHBOUR, Need("neighbour-0", 0), NOW) is None
    return on


def leave(on: Stage) -> None:
    """Let the other session go."""
    on.lasting.admission.drop(NEIGHBOUR.key)


@pytest.mark.requirement("K02")
def test_a_wake_waits_for_its_turn_and_then_is_a_wake_like_any_other() -> None:
    on = full()
    on.ask()
    on.settle()
    assert on.says() == ("False", "Queued")
    assert on.says("Reconciling") == ("True", "Queued")
    status = on.session().status
    assert (on.pods(), status.wakes, status.host, status.answered_request_time) == ([], 0, None, None)
    assert status.queue is not None
    assert (status.queue.position, status.queue.reason) == (1, "namespace team-a runs 1 of 1")
    assert on.requeue == timedelta(seconds=61)
    leave(on)
    assert on.called == [KEY]
    on.wake()
    assert on.says() == ("True", "Running")
    status = on.session().status
    assert (status.wakes, status.restarts, status.queue) == (1, 0, None)
    assert on.events() == []


def counted(on: Stage) -> tuple[int, int]:
    """Return how many a neighbour sees run, and start, once the operator has been restarted."""
    on.restart()
    used = on.lasting.admission._decide().used
    return used.running.total(), used.waking.total()


def test_a_session_that_waits_between_two_pods_counts_as_neither() -> None:
    on = awake()
    assert counted(on) == (1, 0)
    for _ in range(4):
        on.lose(on.pods()[0])
        on.look()
        if on.says()[1] == "HostLost":
            break
        on.start_pods()
        on.settle()
    assert on.says() == ("False", "HostLost")
    assert on.lasting.admission._decide().used.running.total() == 0
    assert counted(on) == (0, 0)
    assert on.requeue is not None
    on.idle(on.requeue.total_seconds() + 1)
    on.look()
    assert counted(on) == (1, 1)
    on.start_pods()
    on.settle()
    assert counted(on) == (1, 0)


@pytest.mark.parametrize("state", [not_ready(), None], ids=["its-host-starts-anew", "its-pod-is-ending"])
def test_after_an_outage_sessions_that_have_run_in_their_pod_do_not_count_as_starting(state: Json | None) -> None:
    on = awake()
    (pod,) = on.world.pods()
    if state is None:
        pod["metadata"]["deletionTimestamp"] = stamp(NOW)
    else:
        on.world.set_pod(pod, state)
    on.look()
    assert on.session().status.is_true("Reconciling")
    assert counted(on) == (1, 0)


def test_the_gateway_sees_a_session_on_its_way_and_tells_why() -> None:
    on = full()
    on.ask()
    on.settle()
    (body,) = on.world.of(SESSIONS)
    view = session_view(body)
    assert (view.reason, view.stalled, view.is_asleep, view.is_held) == ("Queued", False, False, False)
    assert "namespace team-a runs 1 of 1" in view.message


def test_to_wait_is_one_write_however_long_it_takes() -> None:
    on = full()
    on.ask()
    assert on.trouble(7200) == 1


@pytest.mark.parametrize("suspended", [True, False], ids=["suspended", "deleted"])
def test_a_session_that_is_not_wanted_any_more_leaves_the_line(suspended: bool) -> None:
    on = full()
    on.ask()
    on.settle()
    if suspended:
        on.world.edit(SESSIONS, NAME, suspended=True)
        on.settle()
        assert on.says() == ("True", "Suspended")
        assert on.session().status.queue is None
    else:
        on.world.remove(SESSIONS, *KEY)
        on.look()
    leave(on)
    assert on.called == []


def test_a_lost_pods_successor_waits_too_and_is_told_of_once_it_starts() -> None:
    on = start(config=BOUNDED)
    on.settle()
    on.wake()
    assert on.says() == ("True", "Running")
    assert on.lasting.admission.turn(NEIGHBOUR, Need("neighbour-0", 9), NOW) is not None
    on.lose(own_pod(1))
    on.settle()
    assert on.says() == ("False", "Queued"), "the place goes to the one that comes first"
    status = on.session().status
    assert (on.pods(), on.events(), status.wakes, status.restarts, status.disruptions) == ([], [], 1, 0, 1)
    assert on.lasting.admission.turn(NEIGHBOUR, Need("neighbour-0", 9), NOW) is None
    assert on.settle() == 1, "it is the next now"
    leave(on)
    on.settle()
    assert on.pods() == [own_pod(2)]
    on.start_pods()
    on.settle()
    on.hear()
    on.settle()
    status = on.session().status
    assert (on.says(), status.wakes, status.restarts, status.disruptions) == (("True", "Running"), 2, 1, 1)
    assert on.events().count("HostLost") == 1


def test_a_session_that_sleeps_gives_its_place_to_others() -> None:
    on = start(make_nap(), config=BOUNDED)
    on.settle()
    on.wake()
    assert on.lasting.admission.turn(NEIGHBOUR, Need("neighbour-0", 0), NOW) is not None
    on.idle(300)
    on.look()
    on.stores()
    on.settle()
    assert on.says() == ("True", "Asleep")
    assert on.called == [NEIGHBOUR.key]


def test_sessions_of_a_pool_have_no_pod_of_their_own_and_do_not_wait_for_one() -> None:
    on = full(make_pooled())
    on.world.put_template(sessionStore=STORE)
    on.world.add(POOLS, make_pool(1))
    on.ask()
    on.settle()
    assert on.says() == ("False", "NoReadyHost")


def test_a_place_in_line_outlasts_the_operator() -> None:
    on = full()
    on.ask()
    on.settle()
    since = on.session().status.queue
    on.restart()
    assert on.lasting.admission.turn(NEIGHBOUR, Need("neighbour-0", 0), later(1)) is not None, "the other waits longer"
    on.settle()
    assert since is not None
    assert on.pods() == [own_pod(1)]


def test_a_place_is_kept_for_a_wake_whose_pod_runs_however_often_its_status_is_not_written() -> None:
    on = start(config=BOUNDED)
    on.settle()
    on.ask()

    def refuse(moment: str, request: Request) -> None:
        if moment == "before" and (request.verb, request.plural) == ("PATCH", SESSIONS.plural):
            raise Conflict(409, "the object has been modified")

    on.world.around = refuse
    for _ in range(2):
        with pytest.raises(Conflict):
            on.look()
    assert on.pods() == [own_pod(1)]
    assert on.lasting.admission.turn(NEIGHBOUR, Need("neighbour-0", 0), NOW) is not None, "the only place is taken"
