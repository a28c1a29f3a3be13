"""The fault matrix as a table in Markdown: made of the cells of rounds, read from a page, added to what stood there.

How often each fault hit each moment takes hours to show; several runs may share the work, on several days.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from faults.record import Cell

_HITS = re.compile(r"(\d+)(?:, \*\*(\d+) wrong\*\*)?")
_LONGEST = re.compile(r"(\d+) s(?: \((\d+) s\))?")
_NOTHING, _NOT_RUN, _NOT_COUNTED = "none to hit", "not run", "not counted"


@dataclass(frozen=True)
class Entry:
    """How often a fault hit a moment, and how often something was wrong then."""

    hits: int = 0
    wrong: int = 0

    def __str__(self) -> str:
        """Return it as it stands in the table."""
        if not self.hits and not self.wrong:
            return _NOTHING
        return f"{self.hits}, **{self.wrong} wrong**" if self.wrong else str(self.hits)


@dataclass(frozen=True)
class Row:
    """What a fault came to, by moment. `longest` and `stated` in seconds; `writes`: the most, None if not counted."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    longest: int = 0
    stated: int = 0
    writes: int | None = None

    def __add__(self, other: "Row") -> "Row":
        """Return what both came to."""
        entries = dict(self.entries)
        for moment, entry in other.entries.items():
            before = entries.get(moment, Entry())
            entries[moment] = Entry(before.hits + entry.hits, before.wrong + entry.wrong)
        known = [one for one in (self.writes, other.writes) if one is not None]
        longest, stated = max(self.longest, other.longest), max(self.stated, other.stated)
        return Row(entries, longest, stated, max(known, default=None))


Table = Mapping[str, Row]
"""Rows by fault."""


def tallied(cells: Iterable[Cell]) -> Table:
    """Return the table of these cells."""
    out: dict[str, Row] = {}
    for cell in cells:
        out[cell.strike] = out.get(cell.strike, Row()) + _row(cell)
    return out


def _row(cell: Cell) -> Row:
    entries = {cell.moment: Entry(int(cell.hit), int(bool(cell.problems)))}
    # How long something took that hit nothing says nothing of the fault.
    return Row(entries, round(cell.seconds) if cell.hit else 0, round(cell.stated) if cell.hit else 0, cell.writes)


def added(before: Table, more: Table) -> Table:
    """Return what both came to; faults stand in the order in which they were first played."""
    return {name: before.get(name, Row()) + more.get(name, Row()) for name in {**before, **more}}


def rendered(table: Table, moments: Sequence[str]) -> str:
    """Return the table in Markdown; raises ValueError if it has moments that are not among these."""
    if unknown := {moment for row in table.values() for moment in row.entries}.difference(moments):
        raise ValueError(f"no moments of the fault matrix: {', '.join(sorted(unknown))}")
    rows = [[name, *(_entry(row, moment) for moment in moments), *_ends(row)] for name, row in table.items()]
    head = ["fault", *moments, "longest (stated)", "most writes"]
    return "\n".join([_line(head), "|---" * len(head) + "|", *map(_line, rows)]) + "\n"


def read(markdown: str) -> Table:
    """Return the table that stands in Markdown; raises ValueError at what `rendered` does not write."""
    lines = [line.strip("| \n").split(" | ") for line in markdown.splitlines() if line.startswith("| ")]
    head = lines[0] if lines else []
    return {cells[0]: _read_row(dict(zip(head, cells, strict=True))) for cells in lines[1:]}


def _entry(row: Row, moment: str) -> str:
    return str(row.entries[moment]) if moment in row.entries else _NOT_RUN


def _ends(row: Row) -> tuple[str, str]:
    longest = f"{row.longest} s ({row.stated} s)" if row.stated else f"{row.longest} s"
    return longest, _NOT_COUNTED if row.writes is None else str(row.writes)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _read_row(cells: Mapping[str, str]) -> Row:
    moments = list(cells.items())[1:-2]
    longest, stated = _numbers(_LONGEST, cells["longest (stated)"])
    writes = cells["most writes"]
    entries = {moment: _read_entry(text) for moment, text in moments if text != _NOT_RUN}
    return Row(entries, longest, stated, None if writes == _NOT_COUNTED else int(writes))


def _read_entry(text: str) -> Entry:
    return Entry() if text == _NOTHING else Entry(*_numbers(_HITS, text))


def _numbers(form: re.Pattern[str], text: str) -> tuple[int, int]:
    found = form.fullmatch(text)
    if found is None:
        raise ValueError(f"no entry of the fault matrix: {text!r}")
    return int(found[1]), int(found[2] or 0)
