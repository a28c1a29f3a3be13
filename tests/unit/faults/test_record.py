"""The record of the fault matrix, its table, and the table's place in a page."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults import record, table
from faults.__main__ import main
from faults.moments import MOMENTS
from faults.page import BEGIN, END, hits, read, written
from faults.record import Cell
from faults.strikes import STRIKES
from faults.table import Entry, Row, Table

CELL = Cell("pod deleted", "idle", hit=True, seconds=3.2, problems=[], acknowledged=2)
_COUNTS = st.integers(0, 300)
_ROWS = st.builds(
    Row,
    st.dictionaries(st.sampled_from([one.name for one in MOMENTS]), st.builds(Entry, _COUNTS, _COUNTS)),
    _COUNTS,
    _COUNTS,
    st.none() | _COUNTS,
)
_TABLES = st.dictionaries(st.sampled_from([one.name for one in STRIKES]), _ROWS)


def shown(cells: list[Cell], moments: list[str]) -> str:
    """Return the table of these cells in Markdown."""
    return table.rendered(table.tallied(cells), moments)


def test_cells_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "deeper" / "cells"
    record.write(file, 1, [CELL])
    record.write(file, 2, [replace(CELL, problems=["1 turns run twice"])])
    assert record.read(file) == [CELL, replace(CELL, problems=["1 turns run twice"])]


def test_the_table_counts_hits_and_tells_what_was_wrong() -> None:
    cells = [CELL, replace(CELL, seconds=7.6), replace(CELL, moment="wake", problems=["x"])]
    cells.append(replace(CELL, moment="create", hit=False, seconds=99))
    assert shown(cells, ["create", "idle", "wake", "delete"]).splitlines() == [
        "| fault | create | idle | wake | delete | longest (stated) | most writes |",
        "|---|---|---|---|---|---|---|",
        "| pod deleted | none to hit | 2 | 1, **1 wrong** | not run | 8 s | not counted |",
    ]


def test_the_table_shows_what_was_stated_and_how_much_was_written() -> None:
    cells = [replace(CELL, stated=90, writes=7), replace(CELL, stated=90, writes=11), CELL]
    assert "| 3 s (90 s) | 11 |" in shown(cells, ["idle"])


def test_cells_of_earlier_runs_that_measured_less_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "cells"
    line = '{"seed": 1, "strike": "pod deleted", "moment": "idle", "hit": true, "seconds": 3.2, "problems": []}'
    file.write_text(f"{line}\n")
    assert record.read(file) == [replace(CELL, acknowledged=0)]


def test_what_went_wrong_without_a_hit_is_not_hidden() -> None:
    assert "0, **1 wrong**" in shown([replace(CELL, hit=False, problems=["x"])], ["idle"])


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


@given(_TABLES)
def test_a_table_is_read_as_it_was_written(some: Table) -> None:
    assert table.read(table.rendered(some, [one.name for one in MOMENTS])) == some


def test_rounds_are_added_to_those_that_stand_in_the_page(tmp_path: Path) -> None:
    page, file = tmp_path / "page.md", tmp_path / "cells"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    record.write(file, 1, [CELL, replace(CELL, moment="wake", hit=False), replace(CELL, strike="other", writes=3)])
    main(file, page)
    file.unlink()
    record.write(file, 2, [replace(CELL, seconds=8, stated=90, writes=5), replace(CELL, moment="wake", problems=["x"])])
    main(file, page, add=True)
    assert table.read(page.read_text()) == {
        "pod deleted": Row({"idle": Entry(2), "wake": Entry(1, 1)}, 8, 90, 5),
        "other": Row({"idle": Entry(1)}, 3, 0, 3),
    }


def test_how_often_a_fault_has_hit_stands_in_the_page(tmp_path: Path) -> None:
    page, file = tmp_path / "page.md", tmp_path / "cells"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    record.write(file, 1, [CELL, replace(CELL, moment="wake", hit=False), replace(CELL, strike="other")])
    main(file, page)
    assert hits(page, CELL.strike) == {"idle": 1, "wake": 0}
    assert hits(page, "not played yet") == {}


def test_what_is_no_entry_of_the_table_is_not_taken_for_one() -> None:
    with pytest.raises(ValueError, match="no entry of the fault matrix: 'many'"):
        table.read("| fault | idle | longest (stated) | most writes |\n|---|---|---|---|\n| x | many | 3 s | 4 |")


def test_the_table_of_the_documentation_is_read_and_has_all_faults() -> None:
    found = read((Path(__file__).parents[3] / "docs" / "reliability.md").read_text())
    assert found.keys() == {one.name for one in STRIKES}


def test_counts_of_a_moment_that_has_another_name_by_now_are_not_dropped() -> None:
    with pytest.raises(ValueError, match="no moments of the fault matrix: idle"):
        shown([CELL], ["wake"])
