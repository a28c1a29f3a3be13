"""Transcripts on disk by the names that they have in a store."""

import json
import stat
from pathlib import Path

import pytest
from claude_agent_sdk import project_key_for_directory

from agentrunner.keeping.files import METADATA, TranscriptFiles, as_entries, uuids
from agentrunner.lines import Entry, read_all
from agentrunner.transcript import find
from unit.agentrunner.keeping.talks import SESSION, entries

SUB = "subagents/agent-7"


@pytest.fixture
def files(tmp_path: Path) -> TranscriptFiles:
    return TranscriptFiles(tmp_path / "claude", Path("/workspace/one"), SESSION)


def test_the_conversation_is_where_the_cli_looks_for_it(files: TranscriptFiles) -> None:
    assert files.main == files.path(None) == find(files.config, files.cwd, SESSION)
    assert files.project_key == project_key_for_directory("/workspace/one")


def test_keys_of_a_conversation_and_of_a_subagents() -> None:
    files = TranscriptFiles(Path("/c"), Path("/workspace/one"), SESSION)
    whole = {"project_key": files.project_key, "session_id": SESSION}
    assert files.key() == whole
    assert files.key(SUB) == whole | {"subpath": SUB}


@pytest.mark.parametrize("entries_", [[], entries(1), entries(3), [{"text": "ä\ud800\u2028"}]])
@pytest.mark.parametrize("subpath", [None, SUB])
def test_what_is_written_is_read_again(files: TranscriptFiles, subpath: str | None, entries_: list[Entry]) -> None:
    files.write(subpath, entries(9, start=50))
    files.write(subpath, entries_)
    path = files.path(subpath)
    assert read_all(path) == entries_
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one for one in path.parent.iterdir() if one.name.startswith(".")] == []


def test_a_subagents_metadata_has_a_file_of_its_own_and_the_last_one_counts(files: TranscriptFiles) -> None:
    said = entries(2)
    early, late = {"type": METADATA, "agentType": "a"}, {"type": METADATA, "agentType": "b"}
    files.write(SUB, [early, said[0], late, said[1]])
    assert read_all(files.path(SUB)) == said
    sidecar = files.path(SUB).with_name("agent-7.meta.json")
    assert json.loads(sidecar.read_text()) == {"agentType": "b"}
    assert files.metadata(SUB) == late
    assert files.subpaths() == [SUB]


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_metadata_that_cannot_be_read_is_none(files: TranscriptFiles, text: str) -> None:
    files.write(SUB, entries(1))
    files.path(SUB).with_name("agent-7.meta.json").write_text(text)
    assert files.metadata(SUB) is None
    assert files.metadata("subagents/agent-8") is None


def test_the_main_conversation_keeps_what_looks_like_metadata(files: TranscriptFiles) -> None:
    odd: list[Entry] = [{"type": METADATA, "x": 1}]
    files.write(None, odd)
    assert read_all(files.main) == odd


@pytest.mark.requirement("H34")
@pytest.mark.parametrize("subpath", ["", "/etc/x", "..", "../x", "a/../../x", "a/..", "a\0b", "/"])
def test_a_store_cannot_have_files_written_elsewhere(files: TranscriptFiles, subpath: str) -> None:
    with pytest.raises(ValueError, match="leads out"):
        files.write(subpath, entries(1))


def test_a_dot_changes_nothing(files: TranscriptFiles) -> None:
    assert files.path("./subagents/./agent-7") == files.path(SUB)


def test_without_a_folder_there_are_no_subagents(files: TranscriptFiles) -> None:
    assert files.subpaths() == []


def test_what_stores_and_lines_give_is_the_same_thing() -> None:
    assert as_entries(None) == []
    assert list(uuids([{"uuid": "a"}, {}, {"uuid": 7}])) == ["a"]
