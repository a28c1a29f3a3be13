"""The table of the fault matrix: what was hit, what was wrong, and its place in a page."""

from dataclasses import replace
from pathlib import Path

import pytest

from faults import record
from faults.__main__ import BEGIN, END, main, written
from faults.record import Cell

CELL = Cell("pod deleted", "idle", hit=True, seconds=3.2, problems=[], acknowledged=2)


def test_cells_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "deeper" / "cells"
    record.write(file, 1, [CELL])
    record.write(file, 2, [replace(CELL, problems=["1 turns run twice"])])
    assert record.read(file) == [CELL, replace(CELL, problems=["1 turns run twice"])]


def test_the_table_counts_hits_and_tells_what_was_wrong() -> None:
    cells = [CELL, replace(CELL, seconds=7.6), replace(CELL, moment="wake", problems=["x"])]
    cells.append(replace(CELL, moment="create", hit=False, seconds=99))
    assert record.table(cells, ["create", "idle", "wake", "delete"]).splitlines() == [
        "| fault | create | idle | wake | delete | longest (stated) | most writes |",
        "|---|---|---|---|---|---|---|",
        "| pod deleted | none to hit | 2 | 1, **1 wrong** | not run | 8 s | not counted |",
    ]


def test_the_table_shows_what_was_stated_and_how_much_was_written() -> None:
    cells = [replace(CELL, stated=90, writes=7), replace(CELL, stated=90, writes=11), CELL]
    assert "| 3 s (90 s) | 11 |" in record.table(cells, ["idle"])


def test_cells_of_earlier_runs_that_measured_less_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "cells"
    line = '{"seed": 1, "strike": "pod deleted", "moment": "idle", "hit": true, "seconds": 3.2, "problems": []}'
    file.write_text(f"{line}\n")
    assert record.read(file) == [replace(CELL, acknowledged=0)]


def test_what_went_wrong_without_a_hit_is_not_hidden() -> None:
    assert "0, **1 wrong**" in record.table([replace(CELL, hit=False, problems=["x"])], ["idle"])


def test_the_table_takes_its_place_in_a_page(tmp_path: Path) -> None:
    page, file = tmp_path / "page.md", tmp_path / "cells"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    record.write(file, 1, [CELL])
    main(file, page)
    text = page.read_text()
    assert "old" not in text
    assert "| pod deleted |" in text
    assert (text.startswith("before\n"), text.endswith(f"{END}\nafter\n")) == (True, True)


def test_a_page_without_the_marks_is_left_alone() -> None:
    with pytest.raises(ValueError, match="has no marks"):
        written("a page", "a table")
