"""The simulation of hosts that come and go: what the table in the documentation rests on."""

from collections import Counter

import pytest

from bench.envoyhash import TABLE_SIZE, maglev, ring, xxh64
from bench.ring import Change, agreement, as_placed, changes, methods, outcome, section, session_ids

IDS = session_ids(3000)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0xEF46DB3751D8E999),
        ("a", 0xD24EC4F1A98C6E5B),
        ("asdf", 0x415872F599CEA71E),
        ("Call me Ishmael. Some years ago--never mind how long precisely-", 0x02A2E85470D6FD96),
    ],
)
def test_the_hash_is_xxhash64_by_its_published_values(text: str, value: int) -> None:
    assert xxh64(text.encode()) == value


def test_a_maglev_table_is_shared_evenly_and_does_not_depend_on_the_order_of_members() -> None:
    hosts = [f"chat-{number}" for number in range(5)]
    one, other = maglev(hosts), maglev(hosts[::-1])
    entries = [one(number) for number in range(TABLE_SIZE)]
    counts = Counter(entries).values()
    assert max(counts) - min(counts) <= 1
    assert entries == [other(number) for number in range(TABLE_SIZE)]


def test_a_ring_wraps_around() -> None:
    choose = ring(["a", "b"])
    assert choose(2**64 - 1) == choose(0)


def test_ids_are_the_same_at_every_run() -> None:
    assert session_ids(2) == session_ids(2)
    assert len(set(IDS)) == len(IDS)


@pytest.mark.requirement("K03", "H37")
@pytest.mark.parametrize("count", [3, 10])
def test_as_placed_nobody_moves_but_those_whose_host_is_gone(count: int) -> None:
    added, removed, restarted, lost = (outcome(as_placed, change, IDS) for change in changes(count))
    assert (added.moves, restarted.moves) == (0, 0)
    assert (removed.needless, lost.needless) == (0, 0)
    assert removed.moves == lost.moves, "who was moved does not move back"
    assert abs(removed.moves / len(IDS) * count - 1) < 0.15


@pytest.mark.requirement("K03", "H37")
@pytest.mark.parametrize("count", [3, 10])
def test_the_hash_alone_moves_no_more_than_a_tenth_over_the_ideal_and_nothing_in_vain(count: int) -> None:
    step = methods(IDS)["rendezvous hash alone"]
    for change in changes(count):
        found = outcome(step, change, IDS)
        assert found.needless == 0
        assert found.moves <= 1.1 * change.ideal * len(IDS)


def test_moves_between_hosts_that_stay_are_counted_as_needless() -> None:
    homes = iter([{"x": "a", "y": "b"}, {"x": "b", "y": "c"}])
    change = Change("one added", (("a", "b"), ("a", "b", "c")), 0.5)
    found = outcome(lambda *_: next(homes), change, ["x", "y"])
    assert (found.moves, found.needless, found.fullest) == (2, 1, 1.5)


def test_another_hash_is_another_opinion() -> None:
    """Envoy's table and the placement function agree by chance only: one of them has to have no say."""
    assert agreement(IDS, 10) == pytest.approx(0.1, abs=0.02)


def test_the_table_has_a_line_for_each_change_and_way() -> None:
    lines = section(200, (3, 4)).splitlines()
    rows = [line for line in lines if line.startswith(("| 3 |", "| 4 |"))]
    assert len(rows) == 2 * 4 * 4
    assert {line.count("|") for line in lines if line.startswith("|")} == {9}
