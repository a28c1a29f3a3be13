"""Turns: bounds hold, the order is total, nobody is left behind, and what is told of a place in line is told seldom."""

from collections import Counter
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.api.config import Admission, Bounds
from agentsessions.api.status import Queue
from agentsessions.policies.queueing import Tenants, Used, Waiter, look_again, obstacle, told, turns, words
from unit.make import NOW, later

BOUNDS = st.builds(Bounds, running=st.none() | st.integers(0, 4), waking=st.none() | st.integers(0, 3))
NAMES = ("a", "b", "c")
PARTIES = ("acme", "globex")
RULES = st.builds(
    Admission,
    waking=st.integers(0, 5),
    per_namespace=BOUNDS,
    namespaces=st.dictionaries(st.sampled_from(NAMES), BOUNDS),
    tenant_label=st.just("example.com/tenant"),
    per_tenant=BOUNDS,
    tenants=st.dictionaries(st.sampled_from(PARTIES), BOUNDS),
)
TENANTS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(PARTIES))
Lines = dict[str, list[Waiter]]


@st.composite
def lines(draw: st.DrawFn) -> Lines:
    """Return sorted lines of some namespaces; many wait since the same second."""
    ranks = draw(st.lists(st.tuples(st.sampled_from(NAMES), st.integers(-2, 2), st.integers(0, 3)), max_size=24))
    out: Lines = {}
    for number, (name, priority, seconds) in enumerate(ranks):
        waiter = Waiter((name, f"s-{number}"), f"uid-{number * 7 % 24}", priority, later(seconds))
        out.setdefault(name, []).append(waiter)
    return {name: sorted(line, key=lambda one: one.rank) for name, line in out.items()}


@st.composite
def used(draw: st.DrawFn) -> Used:
    """Return what is used, by whatever bounds there were before."""
    running = {name: draw(st.integers(0, 5)) for name in NAMES}
    return Used(Counter(running), Counter({name: draw(st.integers(0, count)) for name, count in running.items()}))


def limit(rules: Admission, name: str, kind: str) -> int:
    """Return a bound of a namespace, 0 for none."""
    own = getattr(rules.namespaces.get(name, Bounds()), kind)
    return int((getattr(rules.per_namespace, kind) if own is None else own) or 0)


def limit_of(rules: Admission, tenant: str, kind: str) -> int:
    """Return a bound of a tenant, 0 for none."""
    own = getattr(rules.tenants.get(tenant, Bounds()), kind)
    return int((getattr(rules.per_tenant, kind) if own is None else own) or 0)


@given(lines(), used(), RULES, TENANTS)
def test_no_bound_is_ever_passed_by_a_turn(line: Lines, before: Used, rules: Admission, tenants: Tenants) -> None:
    found = turns(line, before, rules, tenants)
    given_to = Counter(name for name, _ in found.keys)
    for name in given_to:
        for kind in ("running", "waking"):
            count = getattr(before, kind)[name] + given_to[name]
            assert getattr(found.used, kind)[name] == count
            assert not (most := limit(rules, name, kind)) or count <= most
    assert not rules.waking or not given_to or found.used.waking.total() <= rules.waking
    for tenant in {tenants[name] for name in given_to if name in tenants}:
        members = [name for name in NAMES if tenants.get(name) == tenant]
        for kind in ("running", "waking"):
            count = sum(getattr(found.used, kind)[name] for name in members)
            assert not (most := limit_of(rules, tenant, kind)) or count <= most


@given(lines(), used(), RULES, TENANTS)
def test_whoever_is_left_is_kept_by_a_bound_and_by_nobody_behind(
    line: Lines, before: Used, rules: Admission, tenants: Tenants
) -> None:
    found = turns(line, before, rules, tenants)
    for name, waiters in line.items():
        chosen = [key for key in found.keys if key[0] == name]
        assert chosen == [one.key for one in waiters[: len(chosen)]]
        assert len(chosen) == len(waiters) or obstacle(name, found.used, rules, tenants)


@given(lines(), RULES, TENANTS)
def test_everybody_has_a_turn_while_places_become_free(line: Lines, rules: Admission, tenants: Tenants) -> None:
    rounds = 0
    while any(line.values()):
        chosen = set(turns(line, Used(), rules, tenants).keys)
        assert chosen
        line = {name: [one for one in waiters if one.key not in chosen] for name, waiters in line.items()}
        rounds += 1
    assert rounds <= 24


@given(lines(), RULES, st.randoms())
def test_whose_turn_it_is_does_not_depend_on_the_order_in_which_they_are_known(
    line: Lines, rules: Admission, chance: Random
) -> None:
    names = list(line)
    chance.shuffle(names)
    assert turns({name: line[name] for name in names}, Used(), rules) == turns(line, Used(), rules)


def waiter(name: str, priority: int = 0, seconds: float = 0, uid: str = "") -> Waiter:
    """Return somebody who waits in a namespace."""
    return Waiter(
        (name, f"{priority}-{seconds}-{uid}"), uid or f"{name}-{priority}-{seconds}", priority, later(seconds)
    )


def test_the_order_in_a_namespace_is_priority_then_time_then_uid() -> None:
    ranked = [waiter("a", 5, 9), waiter("a", 0, 1), waiter("a", 0, 2, "x"), waiter("a", 0, 2, "y"), waiter("a", -1, 0)]
    shuffled = [ranked[number] for number in (3, 0, 4, 2, 1)]
    assert sorted(shuffled, key=lambda one: one.rank) == ranked


def test_a_namespace_with_a_long_line_and_high_priorities_does_not_keep_another_waiting() -> None:
    crowd = [waiter("a", 1000, seconds) for seconds in range(9)]
    rules = Admission(waking=4)
    found = turns({"a": crowd, "b": [waiter("b", 0, 60)]}, Used(), rules)
    assert [name for name, _ in found.keys] == ["a", "b", "a", "a"]
    busy = Used(Counter(a=2), Counter(a=2))
    assert [name for name, _ in turns({"a": crowd, "b": [waiter("b", 0, 60)]}, busy, rules).keys] == ["b", "a"]


def test_a_namespace_that_is_full_keeps_nobody_else() -> None:
    rules = Admission(waking=0, per_namespace=Bounds(running=2), namespaces={"b": Bounds(waking=1)})
    line = {name: [waiter(name, 0, seconds) for seconds in range(3)] for name in ("a", "b")}
    found = turns(line, Used(Counter(a=2)), rules)
    assert [name for name, _ in found.keys] == ["b"]
    assert obstacle("a", found.used, rules) == "namespace a runs 2 of 2"
    assert obstacle("b", found.used, rules) == "namespace b starts 1 of 1 at once"


def test_a_bound_of_0_for_one_namespace_lifts_that_of_all() -> None:
    rules = Admission(per_namespace=Bounds(running=1), namespaces={"free": Bounds(running=0)})
    assert obstacle("free", Used(Counter(free=9)), rules) == ""
    assert obstacle("other", Used(Counter(other=9)), rules) == "namespace other runs 9 of 1"


def test_what_bounds_all_namespaces_is_said_without_their_names() -> None:
    rules = Admission(waking=3)
    full = Used(waking=Counter(secret=2, other=1))
    assert obstacle("team-a", full, rules) == "all namespaces together start 3 of 3 at once"


def test_namespaces_of_one_tenant_share_its_bound_and_those_of_another_do_not() -> None:
    rules = Admission(
        waking=0, tenant_label="example.com/tenant", per_tenant=Bounds(running=3), tenants={"acme": Bounds(waking=1)}
    )
    tenants = {"a": "acme", "b": "acme", "c": "globex"}
    line = {name: [waiter(name, 0, seconds) for seconds in range(5)] for name in ("a", "b", "c", "d")}
    found = turns(line, Used(Counter(b=1)), rules, tenants)
    assert Counter(name for name, _ in found.keys) == {"a": 1, "c": 3, "d": 5}
    assert obstacle("b", found.used, rules, tenants) == "tenant acme starts 1 of 1 at once"
    assert obstacle("c", found.used, rules, tenants) == "tenant globex runs 3 of 3"
    assert obstacle("d", found.used, rules, tenants) == ""


def test_the_namespaces_own_bound_holds_beside_its_tenants() -> None:
    rules = Admission(
        waking=0, per_namespace=Bounds(running=1), tenant_label="tenant", tenants={"acme": Bounds(running=5)}
    )
    found = turns({"a": [waiter("a"), waiter("a", 0, 1)]}, Used(), rules, {"a": "acme"})
    assert len(found.keys) == 1
    assert obstacle("a", found.used, rules, {"a": "acme"}) == "namespace a runs 1 of 1"


def place(position: int, priority: int = 0, reason: str = "namespace a runs 2 of 2") -> Queue:
    """Return a place in line."""
    return Queue(position=position, priority=priority, reason=reason, since=NOW)


@pytest.mark.parametrize(
    ("before", "now", "seconds", "is_told"),
    [
        pytest.param(None, place(9), 0, True, id="it-begins-to-wait"),
        pytest.param(place(9), place(8), 59, False, id="soon-after"),
        pytest.param(place(9), place(8), 60, True, id="a-minute-after"),
        pytest.param(place(9), place(5), 1, False, id="not-yet-halved"),
        pytest.param(place(9), place(4), 1, True, id="halved"),
        pytest.param(place(2), place(9), 1, False, id="others-came-first"),
        pytest.param(place(9), place(9, reason="namespace a starts 1 of 1 at once"), 1, False, id="another-bound"),
        pytest.param(place(9), place(9, priority=3), 1, True, id="another-priority"),
    ],
)
def test_when_a_place_in_line_is_told_anew(before: Queue | None, now: Queue, seconds: int, is_told: bool) -> None:
    assert (told(before, now, timedelta(seconds=seconds)) is now) is is_told


def test_a_line_of_a_thousand_is_looked_at_seldom_and_its_front_every_minute() -> None:
    assert look_again(1) == timedelta(seconds=61)
    assert look_again(10**6) == timedelta(minutes=10)
    assert sum(1 / look_again(position).total_seconds() for position in range(1, 1001)) < 5, "looks a second"


def test_the_condition_says_the_bound_and_no_number_that_changes_with_every_look() -> None:
    assert words(place(17)) == "The session waits for its turn to start: namespace a runs 2 of 2."
