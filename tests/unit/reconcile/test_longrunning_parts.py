"""The small parts of LongRunning sessions: figures, seats, who is woken by what, what is counted."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions import metrics
from agentsessions.api.base import Json
from agentsessions.api.conditions import State, conditions_for
from agentsessions.api.status import AgentSessionStatus, Host, Usage
from agentsessions.handlers.watches import Watches
from agentsessions.hosts.client import HostAddress
from agentsessions.hosts.views import HostView
from agentsessions.policies.hosts import HostFacts, host_facts
from agentsessions.policies.spending import cost
from agentsessions.reconcile.audit import Auditor
from agentsessions.reconcile.catalog import Catalog
from agentsessions.reconcile.longrunning.figures import most, paced, with_figures
from agentsessions.reconcile.longrunning.occupancy import FULL_FOR, Occupancy, capacities
from agentsessions.reconcile.loop import count
from agentsessions.reconcile.observe import DeletedPods
from unit.hosts.fakehost import make_host_session
from unit.lasting import KEY, Queued, make_host_pod, make_pool, make_talk
from unit.make import NAMESPACE, NOW, later, make_session
from unit.world import World

UID = "11111111-1111-4111-8111-111111111111"
POOL = (NAMESPACE, "chat")
COUNTS = st.integers(0, 10**9)
USAGES = st.builds(
    Usage,
    turns=COUNTS,
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    cache_read_tokens=COUNTS,
    cache_creation_tokens=COUNTS,
    cost_usd=st.decimals(0, 1000, places=4).map(str),
)
HOSTS = [HostFacts("chat-0", "u0"), HostFacts("chat-1", "u1")]


@given(USAGES, USAGES)
def test_no_figure_ever_falls(before: Usage, told: Usage) -> None:
    after = most(before, told)
    assert after is not None
    for name in ("turns", "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens"):
        assert getattr(after, name) == max(getattr(before, name), getattr(told, name))
    assert cost(after) == max(cost(before), cost(told))


def test_a_session_that_used_nothing_has_no_usage() -> None:
    assert most(None, Usage()) is None
    assert most(None, Usage(turns=1)) == Usage(turns=1)


def test_an_activity_is_kept_in_whole_seconds_and_never_goes_back() -> None:
    early = with_figures(
        AgentSessionStatus(), make_host_session(UID, last_activity_time=NOW + timedelta(seconds=5, microseconds=7))
    )
    assert early.last_activity_time == later(5)
    assert with_figures(early, make_host_session(UID, last_activity_time=NOW)).last_activity_time == later(5)
    assert with_figures(early, make_host_session(UID, last_activity_time=None)).last_activity_time == later(5)


def test_figures_wait_for_their_minute_and_everything_else_does_not() -> None:
    before = AgentSessionStatus()
    figures = before.model_copy(update={"usage": Usage(turns=1)})
    moved = figures.model_copy(update={"host": Host(pod="chat-1")})
    assert paced(before, before, NOW, NOW) == (before, None)
    assert paced(before, figures, None, NOW) == (figures, None)
    assert paced(before, figures, NOW, later(20)) == (before, timedelta(seconds=40))
    assert paced(before, figures, NOW, later(60)) == (figures, None)
    assert paced(before, moved, NOW, later(20)) == (moved, None)


def test_that_ready_says_less_waits_with_the_figures_and_that_it_says_something_new_does_not() -> None:
    short, long, other = (running(text) for text in ("On it.", "On it. The turn was ended.", "On another."))
    assert paced(long, short, NOW, later(20)) == (long, timedelta(seconds=40))
    assert paced(long, short, NOW, later(60)) == (short, None)
    assert paced(short, long, NOW, later(20)) == (long, None)
    assert paced(long, other, NOW, later(20)) == (other, None)


def running(text: str) -> AgentSessionStatus:
    """Return the status of a session that runs."""
    row = conditions_for(State.RUNNING, "Running", text, previous=(), generation=1, now=NOW, ends=False)
    return AgentSessionStatus(conditions=row)


def talk(name: str, uid: str, host: str = "", pod_uid: str = "") -> Json:
    """Return a session, on a host or not."""
    maker = make_talk(name, uid)
    return (maker.with_status(host=Host(pod=host, pod_uid=pod_uid)) if host else maker).json()


def test_loads_count_each_session_once_and_not_the_one_that_is_placed() -> None:
    seats = Occupancy()
    seats.told(talk("a", "a", "chat-0", "u0"))
    seats.told(talk("b", "b", "chat-0", "u0"))
    seats.told(talk("c", "c", "chat-1", "u1"))
    seats.told(talk("d", "d"))
    held = {one: make_host_session(UID) for one in ("a", "c", "implicit")}
    views = [HostView(HostAddress("chat-0", "u0", ""), sessions=held)]
    assert seats.loads("a", POOL, HOSTS, views) == {"chat-0": 2, "chat-1": 1}
    assert seats.loads("new", (NAMESPACE, "other"), HOSTS, []) == {"chat-0": 0, "chat-1": 0}


def test_what_a_pass_knows_is_newer_than_what_a_watch_brings() -> None:
    seats = Occupancy()
    seats.read(make_talk("a", "a").with_status(host=Host(pod="chat-1", pod_uid="u1")).build())
    seats.told(talk("a", "a", "chat-0", "u0"))
    assert seats.loads("new", POOL, HOSTS, []) == {"chat-0": 0, "chat-1": 1}


def test_a_name_may_have_two_sessions_and_one_that_left_has_no_seat() -> None:
    seats = Occupancy()
    seats.told(talk("a", "old", "chat-0", "u0"))
    seats.told(talk("a", "new"))
    assert {seat.uid for seat in seats.under((NAMESPACE, "a"))} == {"old", "new"}
    assert [seat.uid for seat in seats.waiting(*POOL)] == ["new"]
    assert {seat.uid for seat in seats.at("u0")} == {"old", "new"}
    for uid in ("old", "new", "nobody"):
        seats.leave(uid)
    assert seats == Occupancy(_pools={POOL: {}})


def test_an_ephemeral_session_takes_no_seat() -> None:
    seats = Occupancy()
    seats.told(make_session().json())
    seats.read(make_session().build())
    assert seats == Occupancy()


def test_a_full_host_is_left_alone_for_a_while() -> None:
    seats = Occupancy()
    seats.refused("u0", NOW)
    assert seats.full(NOW) == {"u0"}
    assert seats.full(NOW + FULL_FOR) == set()


def test_a_host_knows_its_capacity_best() -> None:
    views = {"u0": HostView(HostAddress("chat-0", "u0", ""), heard=True, capacity=3)}
    assert capacities(HOSTS, views, 10) == {"chat-0": 3, "chat-1": 10}


@pytest.mark.parametrize(
    ("pod", "ready"),
    [
        (make_host_pod("chat-0", "u0"), True),
        (make_host_pod("chat-0", "u0", ready=False), False),
        (make_host_pod("chat-0", "u0") | {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, False),
    ],
)
def test_a_host_without_an_address_is_not_ready_whatever_it_says(pod: Json, ready: bool) -> None:
    assert host_facts(pod).ready is ready


@pytest.fixture
def watches() -> Watches:
    return Watches(Queued(), Catalog(), Auditor(World(), []), DeletedPods())  # type: ignore[arg-type]


def woken(watches: Watches) -> list[str]:
    """Return the names of the sessions that are to be looked at, and forget them."""
    names = [name for _, name in watches.queue.keys]  # type: ignore[attr-defined]
    watches.queue.keys.clear()  # type: ignore[attr-defined]
    return names


def test_a_hosts_pod_wakes_the_sessions_on_it_and_those_that_wait(watches: Watches) -> None:
    for number, name in enumerate(("here", "there")):
        body = talk(name, name, f"chat-{number}", f"u{number}")
        body["status"]["conditions"] = [{"type": "Ready", "reason": "Running"}]
        watches.on_session("ADDED", body)
    watches.on_session("ADDED", talk("waiting", "waiting"))
    woken(watches)
    watches.sessions_of_host(make_host_pod("chat-0", "u0"))
    assert woken(watches) == ["here", "waiting"]


def test_a_pool_wakes_its_sessions_when_its_settings_change_and_not_when_it_counts(watches: Watches) -> None:
    watches.on_session("ADDED", talk("talk", UID))
    woken(watches)
    pool = make_pool()
    watches.sessions_of_pool("ADDED", pool)
    assert woken(watches) == ["talk"]
    watches.sessions_of_pool("MODIFIED", pool | {"status": {"sessions": 7}})
    assert woken(watches) == []
    watches.sessions_of_pool("MODIFIED", pool | {"status": {"templateHash": "other"}})
    assert woken(watches) == ["talk"]
    watches.sessions_of_pool("DELETED", pool | {"status": {"templateHash": "other"}})
    assert woken(watches) == ["talk"]
    watches.sessions_of_pool("ADDED", pool)
    assert woken(watches) == ["talk"]


def test_the_operator_learns_of_seats_by_the_watch(watches: Watches) -> None:
    watches.on_session("ADDED", talk("talk", UID, "chat-0", "u0"))
    seat = watches.occupancy.seat(UID)
    assert seat is not None
    assert (seat.key, seat.pod_uid) == (KEY, "u0")


def value(name: str, **labels: str) -> float:
    """Return the present value of a sample."""
    return metrics.REGISTRY.get_sample_value(name, {"namespace": NAMESPACE} | labels) or 0.0


def test_what_a_long_running_session_uses_is_counted_as_it_goes_and_never_twice() -> None:
    first = AgentSessionStatus(usage=Usage(turns=2, output_tokens=5, cost_usd="0.25"))
    second = AgentSessionStatus(usage=Usage(turns=3, output_tokens=9, cost_usd="0.75"))
    names = [("agentsessions_turns_total", {}), ("agentsessions_cost_dollars_total", {})]
    before = [value(name, **labels) for name, labels in names]
    tokens = value("agentsessions_tokens_total", kind="output")
    count(make_talk().build(), first, NOW)
    count(make_talk().with_status(first).build(), second, NOW)
    count(make_talk().with_status(second).build(), second, NOW)
    count(make_talk().with_status(second).build(), first, NOW)
    after = [value(name, **labels) for name, labels in names]
    assert [round(Decimal(b) - Decimal(a), 6) for a, b in zip(before, after, strict=True)] == [3, Decimal("0.75")]
    assert value("agentsessions_tokens_total", kind="output") - tokens == 9
