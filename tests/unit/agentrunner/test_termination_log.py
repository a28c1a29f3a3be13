"""Writing the termination message in place."""

import json
import os
from pathlib import Path

import pytest

from agentrunner.terminationlog import TerminationLog


def test_the_file_is_overwritten_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"something longer than what comes")
    before = path.stat().st_ino
    assert TerminationLog(path).write(b"short") is None
    assert (path.read_bytes(), path.stat().st_ino) == (b"short", before)


def test_a_kill_in_the_middle_of_a_write_leaves_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"a":"a long value"}')

    def killed(*_: object) -> None:
        raise OSError("killed here")

    monkeypatch.setattr(os, "ftruncate", killed)
    TerminationLog(path).write(b'{"a":1}')
    assert json.loads(path.read_bytes()) == {"a": 1}


def test_a_file_that_cannot_be_written_is_an_answer_and_no_exception(tmp_path: Path) -> None:
    error = TerminationLog(tmp_path / "no" / "log").write(b"x")
    assert isinstance(error, FileNotFoundError)
