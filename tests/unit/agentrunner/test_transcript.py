"""How an attempt begins, by what an earlier one left."""

from pathlib import Path
from typing import Any

import pytest

from agentrunner.transcript import Start, begin, find, judge, prompt_uuid

ID = "0b6b3a52-6d0f-4a3e-8f6c-2f8f2a3c1d10"
ASKED = {"type": "user", "uuid": prompt_uuid(ID)}
ANSWERED = {"type": "assistant", "uuid": "a"}


@pytest.mark.parametrize(
    ("entries", "start"),
    [
        pytest.param([], Start.FRESH, id="nothing"),
        pytest.param([{"type": "queue-operation"}, {"type": "cost-state"}], Start.FRESH, id="no-conversation"),
        pytest.param([ASKED], Start.CONTINUE, id="asked"),
        pytest.param([ASKED, ANSWERED], Start.CONTINUE, id="asked-and-answered"),
        pytest.param([{"type": "user", "uuid": "x"}, ANSWERED], Start.ASK_AGAIN, id="another-question"),
    ],
)
def test_the_beginning_depends_on_whether_the_prompt_was_heard(entries: list[dict[str, Any]], start: Start) -> None:
    assert judge(entries, ID) is start


def test_no_transcript_is_a_fresh_start(tmp_path: Path) -> None:
    assert begin(tmp_path / "none.jsonl", ID) is Start.FRESH


def test_a_transcript_without_a_conversation_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}.jsonl"
    path.write_bytes(b'{"type":"mode"}\n{"type":"us')
    assert begin(path, ID) is Start.FRESH
    assert [left.name for left in tmp_path.iterdir()] == [f"{ID}.unused"]


def test_the_transcript_is_where_the_cli_keeps_it(tmp_path: Path) -> None:
    workspace = tmp_path / "work.space"
    workspace.mkdir()
    key = "".join(char if char.isalnum() else "-" for char in str(workspace.resolve()))
    assert find(tmp_path / "config", workspace, ID) == tmp_path / "config" / "projects" / key / f"{ID}.jsonl"


def test_the_prompts_uuid_is_the_sessions_own_and_never_changes() -> None:
    assert prompt_uuid(ID) == "e72d8bd3-a38b-5504-81ed-394783f81005"
