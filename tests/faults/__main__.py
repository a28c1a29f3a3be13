"""`python -m faults [--add] FILE PAGE`: writes the table of the rounds in FILE into PAGE, between the two marks there.

With `--add` it is what both came to: the rounds, and the table that stands in the page.
"""

import argparse
from pathlib import Path

from faults import record, table
from faults.moments import MOMENTS

BEGIN, END = "<!-- made by `make test-faults`: begin -->", "<!-- end -->"


def written(page: str, text: str) -> str:
    """Return a page with the text between its marks; raises ValueError if it has none."""
    before, _, after = _parts(page)
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def _parts(page: str) -> tuple[str, str, str]:
    """Return what stands before, between and after the marks; raises ValueError if there are none."""
    before, begin, rest = page.partition(BEGIN)
    between, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no marks: {BEGIN} … {END}")
    return before, between, after


def main(file: Path, page: Path, *, add: bool = False) -> None:
    """Do it."""
    text = page.read_text()
    rounds = table.tallied(record.read(file))
    whole = table.added(table.read(_parts(text)[1]), rounds) if add else rounds
    page.write_text(written(text, table.rendered(whole, [moment.name for moment in MOMENTS])))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--add", action="store_true")
    parser.add_argument("file", type=Path)
    parser.add_argument("page", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _arguments()
    main(arguments.file, arguments.page, add=arguments.add)
