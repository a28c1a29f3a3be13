"""Follows a turn: every SDK message becomes a log event, and turns are counted. No I/O but the log."""

import json
from typing import Any

from claude_agent_sdk import (
    AssistantMessage,
    Message,
    ResultMessage,
    SystemMessage,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

from agentrunner.events import EventLog

_SYSTEM_FIELDS = {
    "api_retry": ("attempt", "max_retries", "retry_delay_ms", "error_status", "error"),
    "model_fallback": ("from_model", "to_model"),
    "compact_boundary": (),
    "permission_denied": ("tool_name",),
    "task_started": ("task_id", "task_type"),
    "task_notification": ("task_id", "status"),
}
"""System messages worth a line, and their fields that hold no content."""


class Progress:
    """What has happened in this attempt so far."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._answers: set[str] = set()
        self._api_error: str | None = None

    @property
    def turns(self) -> int:
        """Answers of the model to the main conversation, subagents left out."""
        return len(self._answers)

    @property
    def api_error(self) -> str | None:
        """The SDK's word for the last model call that failed for good, for example `model_not_found`."""
        return self._api_error

    def note(self, message: Message) -> None:
        """Log one message and count it."""
        match message:
            case AssistantMessage():
                self._note_answer(message)
            case UserMessage(content=list(blocks)):
                for block in blocks:
                    if isinstance(block, ToolResultBlock):
                        self._log.emit("toolResult", size=_size(block.content), isError=bool(block.is_error))
            case SystemMessage(subtype="init", data=data):
                self._note_start(data)
            case SystemMessage(subtype=subtype, data=data) if subtype in _SYSTEM_FIELDS:
                self._log.emit(_camel(subtype), **{_camel(f): data.get(f) for f in _SYSTEM_FIELDS[subtype]})
            case ResultMessage():
                self._note_result(message)
            case _:
                return

    def _note_start(self, data: dict[str, Any]) -> None:
        self._log.emit(
            "cliStarted",
            model=data.get("model"),
            cliVersion=data.get("claude_code_version"),
            permissionMode=data.get("permissionMode"),
            tools=len(data.get("tools") or []),
        )

    def _note_answer(self, message: AssistantMessage) -> None:
        self._api_error = message.error
        is_main = message.parent_tool_use_id is None
        if is_main and message.message_id and message.error is None:
            self._answers.add(message.message_id)
        for block in message.content:
            match block:
                case TextBlock(text=text):
                    self._log.emit("text", {"text": text}, turn=self.turns, size=len(text), error=message.error)
                case ThinkingBlock(thinking=thinking):
                    self._log.emit("thinking", {"text": thinking}, turn=self.turns, size=len(thinking))
                case ToolUseBlock(name=name, input=given):
                    size = _size(given)
                    self._log.emit("toolUse", {"input": json.dumps(given)}, turn=self.turns, tool=name, size=size)
                case _:
                    continue

    def _note_result(self, message: ResultMessage) -> None:
        self._log.emit(
            "turnEnded",
            {"text": message.result or ""},
            subtype=message.subtype,
            isError=message.is_error,
            apiErrorStatus=message.api_error_status,
            terminalReason=message.terminal_reason,
            turns=message.num_turns,
            durationMs=message.duration_ms,
            size=len(message.result or ""),
        )


def _size(value: object) -> int:
    """Return the length of a tool's input or output, as text."""
    return len(value) if isinstance(value, str) else len(json.dumps(value, default=str))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
