"""How many sessions move when hosts come and go, and how even hosts are filled: a table for the documentation.

    python tests/bench/ring.py [--sessions 100000] [--hosts 10]

Simulated with the operator's own placement function; nothing here talks to a cluster.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "operator"))

from agentsessions.policies.placement import place, rank

Homes = Mapping[str, str]


def preferred(ids: Sequence[str], hosts: Sequence[str]) -> dict[str, str]:
    """Return the host that each session prefers, without bounds."""
    return {one: rank(one, hosts)[0] for one in ids}


def pinned(homes: Homes, hosts: Sequence[str], factor: Decimal) -> dict[str, str]:
    """Return the homes as the operator keeps them: who has one stays, who lost it is placed under the bound."""
    kept = {one: host for one, host in homes.items() if host in hosts}
    loads = Counter(dict.fromkeys(hosts, 0))
    loads.update(kept.values())
    room = dict.fromkeys(hosts, len(homes))
    for one in homes:
        if one not in kept:
            found = place(one, loads, room, factor)
            if found is None:
                raise SystemExit("no room: this simulation gives every host room for all")
            kept[one] = found
            loads[found] += 1
    return kept


def row(name: str, before: Homes, after: Homes, hosts: Sequence[str], share: float) -> str:
    """Return one line of the table."""
    moved = sum(before[one] != after[one] for one in before)
    counts = Counter(after.values())
    mean = len(after) / len(hosts)
    ratio = f"{moved / (len(after) * share):.3f}" if share else "-"
    return f"| {name} | {moved} | {moved / len(after):.2%} | {ratio} | {max(counts.values()) / mean:.3f} |"


def table(ids: Sequence[str], count: int, factor: Decimal) -> list[str]:
    """Return the table's lines."""
    hosts = [f"chat-{number}" for number in range(count)]
    more, fewer = [*hosts, f"chat-{count}"], hosts[:-1]
    homes = preferred(ids, hosts)
    bounded = pinned(dict.fromkeys(ids, ""), hosts, factor)
    up, down = 1 / (count + 1), 1 / count
    return [
        row("hash alone: host added", homes, preferred(ids, more), more, up),
        row("hash alone: host removed", homes, preferred(ids, fewer), fewer, down),
        row("hash alone: all hosts restarted", homes, preferred(ids, list(reversed(hosts))), hosts, 0),
        row("as placed: host added", bounded, pinned(bounded, more, factor), more, up),
        row("as placed: host removed", bounded, pinned(bounded, fewer, factor), fewer, down),
        row("as placed: host crashed and came back", bounded, pinned(bounded, hosts, factor), hosts, 0),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--hosts", type=int, default=10)
    parser.add_argument("--load-factor", type=Decimal, default=Decimal("1.25"))
    options = parser.parse_args()
    ids = [f"session-{number}" for number in range(options.sessions)]
    print(f"{options.sessions} sessions on {options.hosts} hosts, load factor {options.load_factor}\n")
    print("| change | sessions moved | fraction | moved / (K/N) | fullest host / mean |\n|---|---|---|---|---|")
    for line in table(ids, options.hosts, options.load_factor):
        print(line)


if __name__ == "__main__":
    main()
