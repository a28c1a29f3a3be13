"""SDK messages as JSON: each with its `type`, in the SDK's own field names. Pure."""

from dataclasses import fields, is_dataclass
from typing import Any

from claude_agent_sdk import (
    AssistantMessage,
    Message,
    ResultMessage,
    StreamEvent,
    SystemMessage,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

_TYPES: dict[type, str] = {
    AssistantMessage: "assistant",
    UserMessage: "user",
    SystemMessage: "system",
    ResultMessage: "result",
    StreamEvent: "stream_event",
    TextBlock: "text",
    ThinkingBlock: "thinking",
    ToolUseBlock: "tool_use",
    ToolResultBlock: "tool_result",
}
_HIDDEN = frozenset({"signature"})


def as_json(message: Message) -> dict[str, Any]:
    """Return a message as the data of a `message` event."""
    value: dict[str, Any] = _plain(message)
    return value


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        kind = next((name for base, name in _TYPES.items() if isinstance(value, base)), type(value).__name__)
        body = {field.name: _plain(getattr(value, field.name)) for field in fields(value) if field.name not in _HIDDEN}
        return {"type": kind} | {name: part for name, part in body.items() if part is not None}
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value
