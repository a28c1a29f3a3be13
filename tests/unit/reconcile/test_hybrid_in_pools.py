"""Hybrid sessions that wake on hosts of a pool, and who is stirred by what while they sleep."""

from datetime import timedelta

import pytest

from agentsessions.api.base import Json
from agentsessions.api.host import HostSession, Phase
from agentsessions.handlers.watches import Watches
from agentsessions.hosts.client import HostAddress
from agentsessions.hosts.errors import HostFull
from agentsessions.hosts.views import HostView
from agentsessions.kube.paths import PODS, SESSIONS
from agentsessions.policies.placement import rank
from agentsessions.reconcile.audit import Auditor
from agentsessions.reconcile.catalog import Catalog
from agentsessions.reconcile.longrunning.driver import LongRunning
from agentsessions.reconcile.longrunning.hostwatch import live_hosts
from agentsessions.reconcile.longrunning.occupancy import Occupancy
from agentsessions.reconcile.observe import DeletedPods
from unit.hosts.fakehost import make_host_session
from unit.hybrid import CONFIG, KEY, NAME, TIMEOUT, UID, awake, in_pool, make_nap, make_pooled
from unit.lasting import Queued, make_host_pod
from unit.madeuphosts import Hosts
from unit.make import NAMESPACE, NOW
from unit.operator_at_work import finish
from unit.world import World


@pytest.mark.requirement("H12", "H37")
def test_it_wakes_on_the_host_of_its_hash_and_leaves_it_when_it_sleeps() -> None:
    on = in_pool(make_pooled(idleTimeoutSeconds=TIMEOUT))
    on.settle()
    assert on.says() == ("True", "Asleep")
    on.ask()
    on.settle()
    on.hear()
    on.settle()
    status = on.session().status
    assert on.says() == ("True", "Running")
    assert status.host is not None
    assert status.host.pod == rank(UID, ["chat-0", "chat-1"])[0]
    assert status.wakes == 1
    on.idle(TIMEOUT)
    on.look()
    on.stores()
    on.settle()
    assert on.says() == ("True", "Asleep")
    assert [session_id for session_id, _ in on.hosts.deleted] == [UID]
    assert {pod["metadata"]["name"] for pod in on.world.pods()} == {"chat-0", "chat-1"}
    assert on.deletions() == 0, "the pool's pods are not the session's"


def test_without_a_ready_host_the_request_is_not_forgotten() -> None:
    on = in_pool(replicas=1)
    on.settle()
    on.world.objects[PODS, NAMESPACE, "chat-0"]["status"] = {"phase": "Pending"}
    on.ask()
    on.settle()
    assert on.says("Reconciling") == ("True", "NoReadyHost")
    assert on.session().status.wakes == 0
    on.start_pods()
    on.settle()
    assert on.says() == ("True", "Running")


def test_a_host_that_is_full_is_passed_over() -> None:
    on = in_pool()
    on.settle()
    on.hosts.refusal = HostFull(507, "host-full", "")
    on.ask()
    on.look()
    on.look()
    on.hosts.refusal = None
    on.settle()
    assert on.says() == ("True", "Running")
    status = on.session().status
    assert status.host is not None
    assert status.host.pod == rank(UID, ["chat-0", "chat-1"])[1]


def test_a_pool_that_is_not_there_is_named() -> None:
    on = in_pool(make_pooled(poolRef={"name": "none"}))
    on.settle()
    assert on.says("Stalled") == ("True", "PoolNotFound")


def body_of(uid: str, reason: str, host: str = "", pod_uid: str = "", pool: bool = True) -> Json:
    """Return a session as a watch has it."""
    maker = make_pooled() if pool else make_nap()
    body = maker.with_meta(name=uid, uid=uid).json()
    body["status"] = {"conditions": [{"type": "Ready", "status": "True", "reason": reason}]}
    if host:
        body["status"]["host"] = {"pod": host, "podUID": pod_uid}
    return body


BODIES = [
    body_of("sleeps", "Asleep"),
    body_of("rests", "Suspended"),
    body_of("alone", "Asleep", pool=False),
    body_of("here", "Running", "chat-0", "u0"),
    body_of("there", "Running", "chat-1", "u1"),
    body_of("waits", "NoReadyHost"),
]


@pytest.mark.requirement("H12")
def test_hosts_that_come_and_go_stir_no_session_that_sleeps() -> None:
    watches = Watches(Queued(), Catalog(), Auditor(World(), []), DeletedPods())  # type: ignore[arg-type]
    for body in BODIES:
        watches.on_session("ADDED", body)
    watches.queue.keys.clear()  # type: ignore[attr-defined]
    watches.sessions_of_host(make_host_pod("chat-0", "u0"))
    assert [name for _, name in watches.queue.keys] == ["here", "waits"]  # type: ignore[attr-defined]


def test_a_seat_of_one_that_sleeps_is_no_place_and_waits_for_none() -> None:
    seats = Occupancy()
    for body in BODIES:
        seats.told(body)
    assert {seat.uid for seat in seats.at("u0")} == {"here", "waits"}
    assert {seat.uid for seat in seats.waiting(NAMESPACE, "chat")} == {"waits"}
    assert seats.seat("sleeps") is not None, "known, for when it is deleted"
    woken = make_pooled().with_meta(name="sleeps", uid="sleeps").build()
    seats.read(woken)
    assert {seat.uid for seat in seats.waiting(NAMESPACE, "chat")} == {"waits", "sleeps"}


def test_a_host_stirs_those_on_it_and_those_that_wait() -> None:
    queue, hosts = Queued(), Hosts()
    lasting = LongRunning(World(), CONFIG, hosts, hosts, queue=queue)  # type: ignore[arg-type]
    for body in BODIES:
        lasting.occupancy.told(body)
    lasting.on_host(HostView(HostAddress("chat-0", "u0", "")))
    assert sorted(name for _, name in queue.keys) == ["here", "waits"]


def stirred(*told: HostSession) -> int:
    """Return how often a session's news bring it back at once, the first of them for granted."""
    queue, hosts = Queued(), Hosts()
    lasting = LongRunning(World(), CONFIG, hosts, hosts, queue=queue)  # type: ignore[arg-type]
    lasting.occupancy.told(body_of(UID, "Running", "chat-0", "u0"))
    lasting._due.add((NAMESPACE, NAME))  # a timer for figures is set already
    for news in told:
        lasting.on_news(HostView(HostAddress("chat-0", "u0", ""), sessions={UID: news}), news)
    return len(queue.keys) - 1


FIRST = make_host_session(UID, NAME, durable=True)


@pytest.mark.parametrize(
    ("news", "times"),
    [
        ({}, 0),
        ({"rss_bytes": 7}, 0),
        ({"last_activity_time": NOW + timedelta(seconds=9)}, 0),
        ({"usage": {"turns": 7}}, 0),
        ({"phase": Phase.RUNNING}, 0),
        ({"phase": Phase.FAILED}, 1),
        ({"death": {"reason": "AgentCrashed", "message": "x", "time": NOW}}, 1),
        ({"put_away": True}, 1),
        ({"durable": False}, 1),
        ({"idle_since": NOW}, 1),
        ({"fault": {"reason": "ArchiveFailed", "message": "x", "time": NOW}}, 1),
    ],
)
def test_what_may_change_a_condition_or_end_the_day_is_seen_to_at_once(news: Json, times: int) -> None:
    assert stirred(FIRST, HostSession.model_validate(FIRST.model_dump() | news)) == times


def test_news_of_another_pod_of_the_session_are_not_its_own() -> None:
    queue, hosts = Queued(), Hosts()
    lasting = LongRunning(World(), CONFIG, hosts, hosts, queue=queue)  # type: ignore[arg-type]
    lasting.occupancy.told(body_of(UID, "Running", "chat-0", "u0"))
    lasting.on_news(HostView(HostAddress("chat-1", "u1", "")), FIRST)
    assert queue.keys == []


def test_nothing_is_kept_of_a_session_that_went_soon_after_its_last_news() -> None:
    lasting = LongRunning(World(), CONFIG, Hosts(), Hosts(), queue=Queued())  # type: ignore[arg-type]
    lasting.occupancy.told(body_of(UID, "Running", "chat-0", "u0"))
    seat = lasting.occupancy.seat(UID)
    assert seat is not None
    lasting._due.add(seat.key)  # figures were to be written in a minute
    finish(lasting.gone(seat.key))
    assert lasting._due == set()


def test_pods_of_sessions_are_followed_beside_those_of_pools() -> None:
    on = awake()
    on.world.add(PODS, make_host_pod("chat-0", "u0"))
    on.world.objects[PODS, NAMESPACE, "chat-0"]["status"]["podIP"] = "10.0.0.1"
    (own,) = [name for name in on.pods() if name != "chat-0"]
    found = finish(live_hosts(on.world, []))  # type: ignore[arg-type]
    assert sorted(address.pod for address in found) == sorted(["chat-0", own])


def test_a_deleted_session_is_taken_from_its_host() -> None:
    on = in_pool()
    on.ask()
    on.settle()
    on.hear()
    on.settle()
    on.world.remove(SESSIONS, *KEY)
    on.look()
    assert (on.hosts.deleted, on.hosts.archived) == ([(UID, "delete")], [UID])
