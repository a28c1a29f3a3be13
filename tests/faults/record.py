"""What the rounds came to: a line of JSON for each cell of each round, and the table that they make."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
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


def table(cells: Sequence[Cell], moments: Sequence[str]) -> str:
    """Return the matrix in Markdown: how often each fault hit each moment, and how often something was wrong then."""
    by: dict[str, dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        by[cell.strike][cell.moment].append(cell)
    rows = [
        [strike, *(_entry(of[moment]) for moment in moments), _longest(of.values()), _most_writes(of.values())]
        for strike, of in by.items()
    ]
    head = ["fault", *moments, "longest (stated)", "most writes"]
    return "\n".join([_line(head), "|---" * len(head) + "|", *map(_line, rows)]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _entry(cells: Sequence[Cell]) -> str:
    """Return how many hits there were and how many cells were wrong, like `20` or `20, **1 wrong**`."""
    hit = [cell for cell in cells if cell.hit]
    wrong = sum(bool(cell.problems) for cell in cells)
    if not hit and not wrong:
        return "none to hit" if cells else "not run"
    return f"{len(hit)}, **{wrong} wrong**" if wrong else str(len(hit))


def _longest(cells: Iterable[Sequence[Cell]]) -> str:
    """Return the longest time of all hits and the one that was stated, like `7 s (90 s)`."""
    hit = [cell for some in cells for cell in some if cell.hit]
    longest, stated = max((cell.seconds for cell in hit), default=0), max((cell.stated for cell in hit), default=0)
    return f"{longest:.0f} s ({stated:.0f} s)" if stated else f"{longest:.0f} s"


def _most_writes(cells: Iterable[Sequence[Cell]]) -> str:
    known = [cell.writes for some in cells for cell in some if cell.writes is not None]
    return str(max(known)) if known else "not counted"
