"""The fault matrix: each fault, while sessions are in different moments of their lives; what was acknowledged is there,

once, no two pods of one session live at a time, every session goes on in the stated time and with few writes, and
nothing stays of one that is deleted. `AGENTSESSIONS_FAULTS` is how many rounds each fault has; without it, some of the
faults are drawn, and have one round each. `AGENTSESSIONS_MOMENTS` is how many moments a round has (drawn anew for each)
or which ones, with commas in between, and `AGENTSESSIONS_COPIES` how many sessions are in each of them, at most.
`AGENTSESSIONS_FAULTS_HITS` instead: all faults, in as many rounds as it takes until each moment has been hit so often;
what stands in the page `AGENTSESSIONS_FAULTS_PAGE` counts. `AGENTSESSIONS_SEED` repeats a run; the seed is printed.
`AGENTSESSIONS_FAULTS_FILE` keeps every cell as a line of JSON.
"""

import asyncio
import os
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from itertools import chain
from pathlib import Path

import pytest

import cluster
from e2e.audit import AuditLog
from e2e.gateway import Gateway
from e2e.lab import Labs
from e2e.sizes import size
from e2e.stage import Stage
from e2e.stores import redis_store
from faults import page, record, table
from faults.arena import Arena
from faults.drawing import SEED, Goal, drawn
from faults.moments import MOMENTS, Moment
from faults.record import Cell
from faults.rounds import Rounds, end
from faults.strikes import STRIKES, Strike

HITS = int(os.environ.get("AGENTSESSIONS_FAULTS_HITS", "0"))
PAGE = os.environ.get("AGENTSESSIONS_FAULTS_PAGE", "")
ROUNDS = int(os.environ.get("AGENTSESSIONS_FAULTS", 1))
ALL = HITS > 0 or "AGENTSESSIONS_FAULTS" in os.environ
FEW = len(STRIKES) if ALL else size(3, len(STRIKES))
CHOICE = os.environ.get("AGENTSESSIONS_MOMENTS", str(size(3, len(MOMENTS))))
COPIES = int(os.environ.get("AGENTSESSIONS_COPIES", size(1, 4)))
FILE = os.environ.get("AGENTSESSIONS_FAULTS_FILE", "")
UNSHOWN = frozenset({"older-operator", "node-lost"})
"""Faults that are not drawn, since they take an image more, or minutes; who asks for all gets them."""
SECONDS = 600
"""Longest time of a round."""
AT_ONCE = 64
"""Sessions that are waited for at a time: each by a thread."""


def faults() -> list[Strike]:
    """Return the faults of this run: all, or as many as there is time for, drawn by the seed."""
    if len(STRIKES) == FEW:
        return list(STRIKES)
    some = random.Random(SEED).sample([one.slug for one in STRIKES if one.slug not in UNSHOWN], FEW)
    return [one for one in STRIKES if one.slug in some]


def schedule(strike: Strike, chance: random.Random, cells: Sequence[Cell]) -> Iterator[list[Moment]]:
    """Yield the moments of each round, each as often as there are sessions in it; `cells`: what they came to so far."""
    # Where pods are lost, many sessions start again at a time.
    copies = max(1, COPIES // 2) if strike.node or strike.ends_hosts else COPIES
    if not HITS:
        for _ in range(ROUNDS):
            yield [one for one in drawn(CHOICE, chance) for _ in range(copies)]
        return
    goal = Goal(HITS, copies, page.hits(Path(PAGE), strike.name) if PAGE else {})
    while moments := goal.moments(cells):
        yield moments


@pytest.fixture(scope="module")
def arena(labs: Labs, gateway: Gateway, provider: cluster.Provider, audit_log: AuditLog | None) -> Iterator[Arena]:
    """A namespace, a store, and ways in of its own."""
    with labs(ends_operator=True) as lab, ExitStack() as ways:
        own = Gateway(gateway.api, gateway.terminal)
        found = Arena(Stage.built(lab, own), provider, redis_store(lab), ways, audit_log)
        with found.settled():
            found.open()
            yield found


@pytest.mark.timeout(120 + SECONDS * max(ROUNDS, HITS))
@pytest.mark.requirement("H31", "K02", "K03")
@pytest.mark.parametrize("strike", faults(), ids=lambda strike: strike.slug)
async def test_what_was_acknowledged_is_there_once_and_all_goes_on(arena: Arena, strike: Strike) -> None:
    if strike.local and arena.provider.name != "local":
        pytest.skip("this fault is made by ending processes of the local cluster's nodes")
    chance, cells = random.Random(f"{SEED} {strike.name}"), list[Cell]()
    planned = schedule(strike, chance, cells)
    first = next(planned, None)
    if first is None:
        pytest.skip("each moment has been hit often enough")
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(AT_ONCE))
    with strike.around(arena) if strike.around else nullcontext():
        rounds = Rounds(arena, strike, chance)
        for moments in chain([first], planned):
            cells += _kept(await rounds.play(moments))
        cells += _kept(await rounds.close())
    print(table.rendered(table.tallied(cells), [one.name for one in MOMENTS]))
    assert [(cell.moment, cell.problems) for cell in cells if cell.problems] == []
    assert any(cell.hit for cell in cells), "the fault never hit anything"


async def test_nothing_stays_of_the_sessions_that_are_left(arena: Arena) -> None:
    assert await end(arena.cast) == []


def _kept(cells: list[Cell]) -> list[Cell]:
    if FILE:
        record.write(Path(FILE), SEED, cells)
    return cells
