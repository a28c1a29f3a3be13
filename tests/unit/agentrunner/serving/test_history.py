"""How far a transcript goes, and whether it has the whole of a turn."""

from pathlib import Path

import pytest

from agentrunner.lines import dump
from agentrunner.serving import history
from agentrunner.serving.history import History

MESSAGE = [{"type": "user", "uuid": "m"}, {"type": "assistant", "uuid": "n"}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the transcript is."""
    return tmp_path / "s.jsonl"


def turn(path: Path, lines: bytes) -> bool:
    """Return whether a turn that wrote these lines is whole."""
    found = History(path)
    found.turn_begins()
    with path.open("ab") as file:
        file.write(lines)
    found.facts()
    return found.has_whole("m")


@pytest.mark.parametrize(
    ("lines", "whole"),
    [
        pytest.param(dump(MESSAGE), True, id="whole"),
        pytest.param(dump(MESSAGE)[:-5], False, id="half-a-line"),
        pytest.param(dump(MESSAGE)[:20] + dump(MESSAGE), False, id="glued"),
        pytest.param(b"", True, id="nothing-with-room"),
    ],
)
def test_a_turn_is_whole_if_nothing_of_it_is_broken(path: Path, lines: bytes, whole: bool) -> None:
    assert turn(path, lines) is whole


def test_a_turn_without_a_line_is_lost_where_there_is_no_room(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_has_room", lambda _: False)
    assert not turn(path, b"")
    assert turn(path, dump(MESSAGE))


def test_what_was_broken_before_is_not_held_against_a_turn(path: Path) -> None:
    path.write_bytes(b'{"type": "us\n')
    assert turn(path, dump(MESSAGE))


def test_where_there_is_no_folder_there_is_room_for_all_that_is_known(tmp_path: Path) -> None:
    found = History(tmp_path / "none" / "s.jsonl")
    assert found.facts() is None
    assert found.has_whole("m")
