"""`python -m bench.ring`: how many sessions move when hosts come and go, as a table in Markdown.

Simulated with the operator's own placement function, and with Envoy's two hashes beside it: that Envoy does what is
simulated of it is shown by `tests/egress/test_hashes.py`. Nothing here talks to a cluster.
"""

import argparse
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from itertools import pairwise
from uuid import UUID

from agentsessions.policies.placement import place, rank
from bench.envoyhash import Choose, maglev, ring, xxh64

Homes = Mapping[str, str]
"""Session id to host."""

Step = Callable[[Homes, Sequence[str]], Homes]
"""Returns the homes once the hosts are these; at first no session has one (its host is empty)."""

LOAD_FACTOR = Decimal("1.25")
SESSIONS, HOSTS = 100_000, (3, 10)

LEGEND = f"""\
- **as placed** is what the operator does: who has a host keeps it; who lost it is placed anew by rendezvous hash, on no
  host above {LOAD_FACTOR} times the mean. Sessions of a lost host move at once and stay where they went; with a volume
  they wait for their host, and none moves. A host that was added fills up with sessions that are new.
- **moves / ideal**: 1 is what a hash needs to keep shares equal, when it remembers nothing.
- **needless** are moves between two hosts that were there all the time.
- Envoy's hashes are at their defaults, with members known by name; known by address, a restart would move them too."""

OPINION = """\
MAGLEV names the host that the placement function prefers for %s:
as often as chance would have it. So only one of them may have a say, and Envoy's configuration has no hash
([ADR 12](adr/0012-one-placement-function.md))."""


@dataclass(frozen=True)
class Change:
    """What happens to hosts: who they are at first and after each step, and how many moves are unavoidable by hash."""

    name: str
    stages: tuple[Sequence[str], ...]
    ideal: float

    @property
    def concerned(self) -> set[str]:
        """Hosts that come or go."""
        return set().union(*self.stages) - set(self.stages[0]).intersection(*self.stages)


@dataclass(frozen=True)
class Outcome:
    """What became of the sessions: moves, those between hosts that were there all the time, and fullest host / mean."""

    moves: int
    needless: int
    fullest: float


@dataclass
class Hashed:
    """A hash alone: a session is where the hash says, whatever was before. Tables are made once for a set of hosts."""

    make: Callable[[Sequence[str]], Callable[[str], str]]
    _known: dict[tuple[str, ...], Homes] = field(default_factory=dict)

    def __call__(self, before: Homes, hosts: Sequence[str]) -> Homes:
        """Return the homes by these hosts."""
        key = tuple(sorted(hosts))
        if key not in self._known:
            choose = self.make(hosts)
            self._known[key] = {one: choose(one) for one in before}
        return self._known[key]


def as_placed(before: Homes, hosts: Sequence[str], factor: Decimal = LOAD_FACTOR) -> Homes:
    """Return the homes as the operator keeps them: who has one stays, who lost it is placed under the bound."""
    kept = {one: host if host in hosts else "" for one, host in before.items()}
    loads = Counter(dict.fromkeys(hosts, 0))
    loads.update(host for host in kept.values() if host)
    room = dict.fromkeys(hosts, len(before))
    for one in (one for one, host in kept.items() if not host):
        kept[one] = place(one, loads, room, factor) or ""
        loads[kept[one]] += 1
    return kept


def methods(ids: Sequence[str]) -> dict[str, Step]:
    """Return the ways to place, by name."""
    hashes = {one: xxh64(one.encode()) for one in ids}

    def envoys(table: Callable[[Sequence[str]], Choose], hosts: Sequence[str]) -> Callable[[str], str]:
        choose = table(hosts)
        return lambda one: choose(hashes[one])

    return {
        "as placed": as_placed,
        "rendezvous hash alone": Hashed(lambda hosts: lambda one: rank(one, hosts)[0]),
        "Envoy MAGLEV": Hashed(partial(envoys, maglev)),
        "Envoy RING_HASH": Hashed(partial(envoys, ring)),
    }


def changes(count: int) -> list[Change]:
    """Return what can happen to so many hosts; one that restarts keeps its name."""
    hosts = [f"chat-{number}" for number in range(count)]
    fewer = hosts[:-1]
    return [
        Change("host added", (hosts, [*hosts, f"chat-{count}"]), 1 / (count + 1)),
        Change("host removed", (hosts, fewer), 1 / count),
        Change("host restarted", (hosts, hosts), 0),
        Change("host lost, and back under its name", (hosts, fewer, hosts), 2 / count),
    ]


def outcome(step: Step, change: Change, ids: Sequence[str]) -> Outcome:
    """Return what becomes of sessions that are placed and then see a change."""
    homes: list[Homes] = [dict.fromkeys(ids, "")]
    for hosts in change.stages:
        homes.append(step(homes[-1], hosts))
    moved = [(a[one], b[one]) for a, b in pairwise(homes[1:]) for one in ids if a[one] != b[one]]
    needless = sum(not change.concerned.intersection(move) for move in moved)
    fullest = max(Counter(homes[-1].values()).values()) * len(change.stages[-1]) / len(ids)
    return Outcome(len(moved), needless, fullest)


def rows(ids: Sequence[str], counts: Sequence[int]) -> Iterator[str]:
    """Yield the lines of the table."""
    ways = methods(ids)
    for count in counts:
        for change in changes(count):
            for name, step in ways.items():
                found = outcome(step, change, ids)
                share = found.moves / len(ids)
                ratio = f"{share / change.ideal:.3f}" if change.ideal else "-"
                figures = f"{found.moves} | {share:.2%} | {ratio} | {found.needless} | {found.fullest:.3f}"
                yield f"| {count} | {change.name} | {name} | {figures} |"


def agreement(ids: Sequence[str], count: int) -> float:
    """Return the share of ids for which MAGLEV names the host that the placement function prefers."""
    hosts = [f"chat-{number}" for number in range(count)]
    choose = maglev(hosts)
    return sum(choose(xxh64(one.encode())) == rank(one, hosts)[0] for one in ids) / len(ids)


def session_ids(count: int) -> list[str]:
    """Return ids such as sessions have, the same at every run."""
    source = random.Random(37)
    return [str(UUID(int=source.getrandbits(128), version=4)) for _ in range(count)]


def section(sessions: int = SESSIONS, counts: Sequence[int] = HOSTS) -> str:
    """Return the section of the documentation."""
    ids = session_ids(sessions)
    head = "| hosts | change | placement | moves | of all | moves / ideal | needless | fullest host / mean |"
    lines = [f"{sessions:,} session ids, simulated.", "", head, "|---|---|---|---|---|---|---|---|", *rows(ids, counts)]
    shared = " and ".join(f"{agreement(ids, count):.1%} of the ids on {count} hosts" for count in counts)
    return "\n".join(["## Sessions that move when hosts come and go", "", *lines, "", LEGEND, "", OPINION % shared])


def main() -> None:
    """Print the section."""
    parser = argparse.ArgumentParser(prog="bench.ring", description=__doc__)
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="number of ids")
    parser.add_argument("--hosts", type=int, nargs="+", default=HOSTS, help="numbers of hosts, for example 3 10")
    options = parser.parse_args()
    print(section(options.sessions, options.hosts))


if __name__ == "__main__":
    main()
