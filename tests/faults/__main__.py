"""`python -m faults [--add] FILE PAGE`: writes the table of the rounds in FILE into PAGE, between the two marks there.

With `--add` it is what both came to: the rounds, and the table that stands in the page.
"""

import argparse
from pathlib import Path

from faults import page, record, table
from faults.moments import MOMENTS


def main(file: Path, where: Path, *, add: bool = False) -> None:
    """Do it."""
    text = where.read_text()
    rounds = table.tallied(record.read(file))
    whole = table.added(page.read(text), rounds) if add else rounds
    where.write_text(page.written(text, table.rendered(whole, [moment.name for moment in MOMENTS])))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--add", action="store_true")
    parser.add_argument("file", type=Path)
    parser.add_argument("page", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _arguments()
    main(arguments.file, arguments.page, add=arguments.add)
