"""Which moments a round has: drawn at random, or those that a fault has not hit often enough."""

import os
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from faults.moments import MOMENTS, Moment
from faults.record import Cell

SEED = int(os.environ.get("AGENTSESSIONS_SEED", random.randrange(2**32)))
"""What all that is drawn at random follows from; a run with the same one draws the same."""
_AWAKE = ("streaming", "tool call", "idle")


def drawn(choice: str, chance: random.Random) -> list[Moment]:
    """Return so many moments (a number), or these (names with commas in between)."""
    if not choice.isdecimal():
        return [one for one in MOMENTS if one.name in choice.split(",")]
    # One at least in which there is a pod, so that no fault strikes at nothing.
    some = {chance.choice(_AWAKE), *chance.sample([one.name for one in MOMENTS], int(choice))}
    return [one for one in MOMENTS if one.name in some]


@dataclass(frozen=True)
class Goal:
    """So many hits of each moment, with `before` of them already there, and `copies` at most in a round."""

    hits: int
    copies: int
    before: Mapping[str, int] = field(default_factory=dict)

    def moments(self, cells: Sequence[Cell]) -> list[Moment]:
        """Return the moments of the next round, each as often as there are sessions in it; none when that is all.

        A moment is given up where half as many tries again have not been enough: there may be nothing to hit.
        """
        hits, tries = _counted(cell for cell in cells if cell.hit), _counted(cells)
        wanted = {one.name: self.hits - self.before.get(one.name, 0) for one in MOMENTS}
        left = {name: min(lacking - hits[name], lacking * 3 // 2 - tries[name]) for name, lacking in wanted.items()}
        return [one for one in MOMENTS for _ in range(min(left[one.name], self.copies))]


def _counted(cells: Iterable[Cell]) -> Counter[str]:
    return Counter(cell.moment for cell in cells)
