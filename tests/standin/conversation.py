"""What the stand-in reads from a request: where the script stands and how far it got. Pure.

The CLI wraps prompts in reminders, splits them into blocks, and repairs a cut conversation with messages
of its own; all that is known about it is kept here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from standin.script import START, Step, parse_script

Message = dict[str, Any]
REPAIRS = frozenset({"No response requested."})
"""Assistant texts that the CLI itself inserts when it resumes a conversation that was cut."""


@dataclass(frozen=True, slots=True)
class Position:
    """The script in force, the number of model answers since, and which user message it stands in."""

    steps: tuple[Step, ...] | None
    answered: int
    turn: int


def block_texts(message: Message) -> list[str]:
    """Return the text blocks of a message, as the model would read them."""
    content = message.get("content", "")
    if isinstance(content, str):
        return [content]
    return [str(block.get("text", "")) for block in content if block.get("type") == "text"]


def is_prompt(message: Message) -> bool:
    """Return whether a person wrote this message: a user message with text beside reminders and tool results."""
    texts = (text.strip() for text in block_texts(message))
    return message.get("role") == "user" and any(t and not t.startswith("<system-reminder>") for t in texts)


def prompt_digests(messages: Sequence[Message]) -> tuple[str, ...]:
    """Return a short SHA-256 of each prompt of the conversation, in order; reminders are no part of a prompt."""
    return tuple(digest(_prompt_text(message)) for message in messages if is_prompt(message))


def digest(text: str) -> str:
    """Return what stands for a prompt."""
    return sha256(text.encode()).hexdigest()[:16]


def _prompt_text(message: Message) -> str:
    texts = (text.strip() for text in block_texts(message))
    return "\n".join(text for text in texts if text and not text.startswith("<system-reminder>"))


def _is_answer(message: Message) -> bool:
    if message.get("role") != "assistant":
        return False
    return "".join(block_texts(message)).strip() not in REPAIRS or _has_tool_use(message)


def _has_tool_use(message: Message) -> bool:
    content = message.get("content", "")
    return not isinstance(content, str) and any(block.get("type") == "tool_use" for block in content)


def locate(messages: Sequence[Message]) -> Position:
    """Return the position in the last script of the conversation, else in the answer to the last prompt.

    Raises ScriptError when that script cannot be read.
    """
    scripted = [i for i, m in enumerate(messages) if m.get("role") == "user" and _script_text(m)]
    prompts = [i for i, m in enumerate(messages) if is_prompt(m)]
    start = scripted[-1] if scripted else (prompts[-1] if prompts else 0)
    steps = parse_script(_script_text(messages[start])) if scripted else None
    answered = sum(_is_answer(m) for m in messages[start:])
    return Position(steps, answered, turn=start)


def _script_text(message: Message) -> str:
    """Return the last text block that opens a script, or nothing."""
    return next((text for text in reversed(block_texts(message)) if START in text), "")


def last_tool_result(messages: Sequence[Message]) -> str:
    """Return the text of the newest tool result, or nothing."""
    for message in reversed(messages):
        content = message.get("content", "")
        results = [] if isinstance(content, str) else [b for b in content if b.get("type") == "tool_result"]
        if results:
            inner = results[-1].get("content", "")
            return inner if isinstance(inner, str) else "".join(block_texts({"content": inner}))
    return ""
