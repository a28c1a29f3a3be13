"""What an earlier attempt left in the CLI's transcript: whether to start, to ask again, or to continue.

Reads the CLI's JSONL file and sets aside one that the CLI would choke on; it never writes into it.
"""

from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from claude_agent_sdk import project_key_for_directory

from agentrunner.lines import parse

CONTINUATION = "The previous attempt was interrupted. Continue the task from where it stopped."


class Start(Enum):
    """How this attempt begins."""

    FRESH = "fresh"
    ASK_AGAIN = "askAgain"
    CONTINUE = "continue"


def prompt_uuid(session_id: str) -> str:
    """Return the uuid under which the session's prompt stands in its transcript."""
    return str(uuid5(UUID(session_id), "prompt"))


def find(config_dir: Path, cwd: Path, session_id: str) -> Path:
    """Return where the CLI keeps this session's transcript, whether or not it exists."""
    return config_dir / "projects" / project_key_for_directory(str(cwd)) / f"{session_id}.jsonl"


def begin(path: Path, session_id: str) -> Start:
    """Return how to begin, given the transcript at `path`; one without a conversation is set aside."""
    try:
        entries = list(parse(path.read_bytes().splitlines()))
    except FileNotFoundError:
        return Start.FRESH
    start = judge(entries, session_id)
    if start is Start.FRESH:
        # The CLI can neither resume such a file nor start a session whose file exists.
        path.replace(path.with_suffix(".unused"))
    return start


def judge(entries: Iterable[dict[str, Any]], session_id: str) -> Start:
    """Return how to begin, given the entries of a transcript."""
    spoken = [entry for entry in entries if _is_spoken(entry)]
    if not spoken:
        return Start.FRESH
    asked = any(entry.get("uuid") == prompt_uuid(session_id) for entry in spoken)
    return Start.CONTINUE if asked else Start.ASK_AGAIN


def says_something(entries: Iterable[dict[str, Any]]) -> bool:
    """Return whether there is a conversation in these entries."""
    return any(_is_spoken(entry) for entry in entries)


def _is_spoken(entry: dict[str, Any]) -> bool:
    return entry.get("type") in {"user", "assistant"}
