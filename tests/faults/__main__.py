"""`python -m faults FILE PAGE`: writes the table of the rounds in FILE into PAGE, between the two marks there."""

import sys
from pathlib import Path

from faults import record
from faults.moments import MOMENTS

BEGIN, END = "<!-- made by `make test-faults`: begin -->", "<!-- end -->"


def written(page: str, table: str) -> str:
    """Return a page with the table between its marks; raises ValueError if it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no marks: {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{table}\n{END}{after}"


def main(file: Path, page: Path) -> None:
    """Do it."""
    table = record.table(record.read(file), [moment.name for moment in MOMENTS])
    page.write_text(written(page.read_text(), table))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
