"""The page in which the table of the fault matrix stands, between two marks."""

from pathlib import Path

from faults import table
from faults.table import Row, Table

BEGIN, END = "<!-- made by `make test-faults`: begin -->", "<!-- end -->"


def written(page: str, text: str) -> str:
    """Return a page with the text between its marks; raises ValueError if it has none."""
    before, _, after = _parts(page)
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def read(page: str) -> Table:
    """Return the table that stands in a page; raises ValueError if there is none."""
    return table.read(_parts(page)[1])


def hits(file: Path, fault: str) -> dict[str, int]:
    """Return how often a fault has hit each moment, by what stands in a page."""
    row = read(file.read_text()).get(fault, Row())
    return {moment: entry.hits for moment, entry in row.entries.items()}


def _parts(page: str) -> tuple[str, str, str]:
    """Return what stands before, between and after the marks; raises ValueError if there are none."""
    before, begin, rest = page.partition(BEGIN)
    between, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no marks: {BEGIN} … {END}")
    return before, between, after
