"""Transcripts in which there was no room for a line."""

from pathlib import Path

import pytest

from agentrunner.keeping.gaps import end_half_line
from agentrunner.lines import dump, read_all

WHOLE = [{"type": "user", "uuid": "a"}, {"type": "assistant", "uuid": "b"}]
NEXT = {"type": "user", "uuid": "c"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a transcript may be."""
    return tmp_path / "s.jsonl"


def test_what_is_whole_is_not_touched(path: Path) -> None:
    end_half_line(path)
    assert not path.exists()
    for content in (b"", dump(WHOLE)):
        path.write_bytes(content)
        end_half_line(path)
        assert path.read_bytes() == content


@pytest.mark.parametrize("half", [b"{", dump([NEXT])[:-1]])
def test_nothing_is_glued_to_half_a_line(path: Path, half: bytes) -> None:
    path.write_bytes(dump(WHOLE) + half)
    end_half_line(path)
    end_half_line(path)
    with path.open("ab") as file:
        file.write(dump([NEXT]))
    assert [entry for entry in read_all(path) if entry != NEXT] == WHOLE
    assert read_all(path)[-1] == NEXT
