"""The pod's log."""

import io
import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from claude_agent_sdk import (
    AssistantMessage,
    Message,
    ResultMessage,
    SystemMessage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

from agentrunner.events import EventLog, LibraryHandler
from agentrunner.progress import Progress

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Log:
    """A log in memory."""

    def __init__(self, *, include_content: bool = False) -> None:
        self.stream = io.StringIO()
        self.log = EventLog(stream=self.stream, now=lambda: NOW)
        self.log.bind(lambda line: line.replace("secret", "-"), include_content=include_content, sessionId="s")

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What was written, without what every line carries."""
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        assert all(
            (line.pop("time"), line.pop("sessionId")) == ("2026-01-02T03:04:05.000+00:00", "s") for line in lines
        )
        return lines


MESSAGES: list[Message] = [
    SystemMessage("init", {"model": "opus", "claude_code_version": "2", "permissionMode": "plan", "tools": ["a", "b"]}),
    SystemMessage("api_retry", {"attempt": 1, "error_status": 529, "error": "overloaded", "other": "x"}),
    SystemMessage("thinking_tokens", {}),
    AssistantMessage([TextBlock("I go"), ToolUseBlock("1", "Bash", {"command": "ls"})], "opus", message_id="m1"),
    AssistantMessage([TextBlock("same")], "opus", message_id="m1"),
    AssistantMessage([TextBlock("sub")], "opus", message_id="m2", parent_tool_use_id="t"),
    UserMessage([ToolResultBlock("1", "out put", False)]),
    ResultMessage("success", 9, 8, False, 2, "s", result="done", terminal_reason="completed"),
]


def test_events_carry_sizes_and_names_and_no_content() -> None:
    log = Log()
    progress = Progress(log.log)
    for message in MESSAGES:
        progress.note(message)
    assert progress.turns == 1
    assert log.lines == [
        {"event": "cliStarted", "model": "opus", "cliVersion": "2", "permissionMode": "plan", "tools": 2},
        {"event": "apiRetry", "attempt": 1, "errorStatus": 529, "error": "overloaded"},
        {"event": "text", "turn": 1, "size": 4},
        {"event": "toolUse", "turn": 1, "tool": "Bash", "size": 17},
        {"event": "text", "turn": 1, "size": 4},
        {"event": "text", "turn": 1, "size": 3},
        {"event": "toolResult", "size": 7, "isError": False},
        {
            "event": "turnEnded",
            "subtype": "success",
            "isError": False,
            "terminalReason": "completed",
            "turns": 2,
            "durationMs": 9,
            "size": 4,
        },
    ]


def test_content_appears_when_it_was_asked_for_and_is_bounded() -> None:
    log = Log(include_content=True)
    Progress(log.log).note(AssistantMessage([TextBlock("x" * 3000)], "opus", message_id="m"))
    assert log.lines == [{"event": "text", "turn": 1, "size": 3000, "text": "x" * 2000}]


def test_the_clis_stderr_is_cleaned_and_bounded() -> None:
    log = Log()
    for _ in range(300):
        log.log.cli_stderr("a secret")
    lines = [line["line"] for line in log.lines]
    assert lines == ["a -"] * 200 + ["further lines are left out"]


def test_what_a_library_warns_of_is_cleaned_too() -> None:
    log = Log()
    LibraryHandler(log.log).emit(logging.makeLogRecord({"name": "sdk", "levelname": "WARNING", "msg": "secret"}))
    assert log.lines == [{"event": "stderr", "line": "sdk WARNING: -"}]


def test_a_line_break_in_content_stays_within_the_line() -> None:
    log = Log(include_content=True)
    log.log.emit("text", {"text": "a\nb\u2028c"})
    assert len(log.stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize("field", ["turn", "tool"])
def test_what_is_not_known_is_left_out(field: str) -> None:
    log = Log()
    log.log.emit("toolUse", **{field: None})
    assert log.lines == [{"event": "toolUse"}]
