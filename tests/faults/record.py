"""What the rounds came to: a line of JSON for each cell of each round."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass
class Cell:
    """What one fault in one moment came to. `seconds`: from the fault until the session had done what it was at.

    `hit` is whether there was anything to strike at: a session that sleeps has no pod. `acknowledged` and `cut` count
    the turns of the session's whole life so far. `stated` is the longest time (seconds) that it may take, 0 where none
    was stated; `writes` what the operator wrote to the API about it meanwhile, where that is known.
    """

    strike: str
    moment: str
    hit: bool
    seconds: float
    problems: list[str]
    acknowledged: int = 0
    cut: int = 0
    stated: float = 0
    writes: int | None = None


def write(file: Path, seed: int, cells: Iterable[Cell]) -> None:
    """Add the cells of a round."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as out:
        out.writelines(json.dumps({"seed": seed} | asdict(cell)) + "\n" for cell in cells)


def read(file: Path) -> list[Cell]:
    """Return all cells of all rounds."""
    lines = [json.loads(line) for line in file.read_text().splitlines() if line]
    return [Cell(**{key: value for key, value in line.items() if key != "seed"}) for line in lines]
