"""The fault matrix: each fault, while sessions are in different moments of their lives; what was acknowledged is there,

once, no two pods of one session live at a time, every session goes on in the stated time and with few writes, and
nothing stays of one that is deleted. `AGENTSESSIONS_FAULTS` is how many rounds each fault has; without it, some of the
faults are drawn, and have one round each. `AGENTSESSIONS_MOMENTS` is how many moments a round has (drawn anew for each)
or which ones, with commas in between, and `AGENTSESSIONS_COPIES` how many sessions are in each of them;
`AGENTSESSIONS_SEED` repeats a run; the seed is printed. `AGENTSESSIONS_FAULTS_FILE` keeps every cell as a line of JSON.
"""

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest

import cluster
from e2e.audit import AuditLog
from e2e.gateway import Gateway
from e2e.lab import Labs
from e2e.sizes import size
from e2e.stage import Stage
from e2e.stores import redis_store
from faults import record, table
from faults.arena import Arena
from faults.moments import MOMENTS, Moment
from faults.record import Cell
from faults.rounds import Rounds
from faults.strikes import STRIKES, Strike

ROUNDS = int(os.environ.get("AGENTSESSIONS_FAULTS", size(1, 8)))
FEW = size(3, len(STRIKES)) if "AGENTSESSIONS_FAULTS" not in os.environ else len(STRIKES)
CHOICE = os.environ.get("AGENTSESSIONS_MOMENTS", str(size(3, len(MOMENTS))))
COPIES = int(os.environ.get("AGENTSESSIONS_COPIES", size(1, 3)))
SEED = int(os.environ.get("AGENTSESSIONS_SEED", random.randrange(2**32)))
FILE = os.environ.get("AGENTSESSIONS_FAULTS_FILE", "")
AWAKE = ("streaming", "tool call", "idle")
UNSHOWN = frozenset({"older-operator"})
"""Faults that are not drawn, since they take an image more; who asks for all gets them."""
SECONDS = 600
"""Longest time of a round."""


def faults() -> list[Strike]:
    """Return the faults of this run: all, or as many as there is time for, drawn by the seed."""
    if len(STRIKES) == FEW:
        return list(STRIKES)
    some = random.Random(SEED).sample([one.slug for one in STRIKES if one.slug not in UNSHOWN], FEW)
    return [one for one in STRIKES if one.slug in some]


def drawn(chance: random.Random) -> list[Moment]:
    """Return the moments of a round."""
    if not CHOICE.isdecimal():
        return [one for one in MOMENTS if one.name in CHOICE.split(",")]
    # One at least in which there is a pod, so that no fault strikes at nothing.
    some = {chance.choice(AWAKE), *chance.sample([one.name for one in MOMENTS], int(CHOICE))}
    return [one for one in MOMENTS if one.name in some]


@pytest.fixture(scope="module")
def arena(labs: Labs, gateway: Gateway, provider: cluster.Provider, audit_log: AuditLog | None) -> Iterator[Arena]:
    """A namespace, a store, and ways in of its own."""
    with labs(ends_operator=True) as lab, ExitStack() as ways:
        own = Gateway(gateway.api, gateway.terminal)
        found = Arena(Stage.built(lab, own), provider, redis_store(lab), ways, audit_log)
        found.settle()
        found.open()
        yield found


@pytest.mark.timeout(120 + SECONDS * ROUNDS)
@pytest.mark.requirement("H31", "K02", "K03")
@pytest.mark.parametrize("strike", faults(), ids=lambda strike: strike.slug)
async def test_what_was_acknowledged_is_there_once_and_all_goes_on(arena: Arena, strike: Strike) -> None:
    print(f"AGENTSESSIONS_SEED={SEED}")
    if strike.local and arena.provider.name != "local":
        pytest.skip("this fault is made by ending processes of the local cluster's nodes")
    chance = random.Random(f"{SEED} {strike.name}")
    cells: list[Cell] = []
    with strike.around(arena) if strike.around else nullcontext():
        rounds = Rounds(arena, strike, chance, COPIES)
        for number in range(ROUNDS + 1):
            played = await (rounds.play(drawn(chance)) if number < ROUNDS else rounds.close())
            if FILE:
                record.write(Path(FILE), SEED, played)
            cells += played
    print(table.rendered(table.tallied(cells), [one.name for one in MOMENTS]))
    assert [(cell.moment, cell.problems) for cell in cells if cell.problems] == []
    assert any(cell.hit for cell in cells), "the fault never hit anything"
