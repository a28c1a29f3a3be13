"""Placement: what moves when hosts come and go, and how full hosts get."""

from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.api.config import Gateway, OperatorConfig
from agentsessions.policies.endpoint import endpoint
from agentsessions.policies.placement import bound, place, rank
from unit.make import make_session

IDS = st.text(min_size=1, max_size=40)
HOSTS = st.lists(st.from_regex(r"\A[a-z]{1,8}-[0-9]{1,3}\Z"), min_size=1, max_size=12, unique=True)


@pytest.mark.requirement("H37")
@given(IDS, HOSTS, st.randoms())
def test_the_order_of_hosts_is_of_no_importance(session: str, hosts: list[str], random: object) -> None:
    shuffled = list(hosts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert rank(session, shuffled) == rank(session, hosts)


@pytest.mark.requirement("H37")
@given(IDS, HOSTS)
def test_a_host_more_or_less_changes_no_preference_among_the_others(session: str, hosts: list[str]) -> None:
    new = "new-host-0"
    assert [host for host in rank(session, [*hosts, new]) if host != new] == rank(session, hosts)


def test_the_ranking_is_the_same_in_every_process_and_version() -> None:
    found = rank("0b6f2c1e-7d1a-4f65-9a57-3f1f0c1d2e3a", [f"chat-{n}" for n in range(5)])
    assert found == ["chat-1", "chat-0", "chat-2", "chat-4", "chat-3"]


@pytest.mark.requirement("H37")
@pytest.mark.parametrize("before", [2, 3, 10])
def test_a_host_added_takes_no_more_than_its_share_and_one_removed_moves_only_its_own(before: int) -> None:
    ids = [f"session-{n}" for n in range(20_000)]
    hosts = [f"chat-{n}" for n in range(before + 1)]
    fewer = {one: rank(one, hosts[:-1])[0] for one in ids}
    more = {one: rank(one, hosts)[0] for one in ids}
    moved = [one for one in ids if fewer[one] != more[one]]
    assert {more[one] for one in moved} == {hosts[-1]}
    assert 0.9 < len(moved) / (len(ids) / len(hosts)) < 1.1
    assert max(Counter(more.values()).values()) < 1.1 * len(ids) / len(hosts)


@pytest.mark.requirement("H37")
@given(st.integers(1, 8), st.integers(1, 20), st.sampled_from(["1", "1.1", "1.25", "2"]), st.integers(0, 120))
def test_no_host_exceeds_the_bound_or_its_capacity_and_all_room_is_used(
    count: int, capacity: int, factor: str, sessions: int
) -> None:
    loads = {f"chat-{n}": 0 for n in range(count)}
    room = dict.fromkeys(loads, capacity)
    for number in range(sessions):
        found = place(f"session-{number}", loads, room, Decimal(factor))
        assert (found is None) == (number >= count * capacity)
        if found is None:
            return
        most = bound(loads, Decimal(factor))
        loads[found] += 1
        assert loads[found] <= min(most, capacity)


@given(IDS, HOSTS)
def test_with_room_everywhere_a_session_gets_the_host_that_it_prefers(session: str, hosts: list[str]) -> None:
    assert place(session, dict.fromkeys(hosts, 0), dict.fromkeys(hosts, 1)) == rank(session, hosts)[0]


def test_where_hosts_differ_the_bound_leaves_no_room_unused() -> None:
    loads, capacity = {"large-0": 8, "small-0": 1, "small-1": 1}, {"large-0": 20, "small-0": 1, "small-1": 1}
    assert bound(loads, Decimal("1")) <= 8
    assert place("a", loads, capacity, Decimal("1")) == "large-0"


def test_no_hosts_and_unknown_capacity_are_no_room() -> None:
    assert place("a", {}, {}) is None
    assert place("a", {"chat-0": 0}, {}) is None


@pytest.mark.parametrize(("url", "start"), [("", ""), ("https://agents.test", "https://agents.test"), ("x/", "x")])
def test_the_endpoint_is_a_path_behind_the_gateways_address(url: str, start: str) -> None:
    config = OperatorConfig(gateway=Gateway(enabled=True, url=url))
    assert endpoint(make_session().build(), config) == f"{start}/v1/namespaces/team-a/sessions/hello"


def test_without_a_gateway_there_is_no_endpoint() -> None:
    assert endpoint(make_session().build(), OperatorConfig()) is None
