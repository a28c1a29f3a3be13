"""Transcripts for tests, with what real ones look like."""

from claude_agent_sdk import SessionKey, SessionStoreEntry

KEY: SessionKey = {"project_key": "-workspace-1", "session_id": "6f1c0a52-3a5e-4d8e-9d55-000000000001"}
OTHER: SessionKey = {"project_key": "-workspace-2", "session_id": "6f1c0a52-3a5e-4d8e-9d55-000000000002"}
SUBKEY: SessionKey = {**KEY, "subpath": "subagents/agent-a1"}


def entries(number: int, start: int = 0) -> list[SessionStoreEntry]:
    """Return small entries that are told apart by their uuid."""
    return [{"type": "x", "uuid": f"{position}"} for position in range(start, start + number)]


def turn(number: int) -> list[SessionStoreEntry]:
    """Return the entries of one turn, 11 KB: a message, two calls of a tool with results, an answer."""
    text = f"turn {number}: " + "ein Wörtchen, 一个字, " * 75
    return [
        {"type": kind, "uuid": f"{number}-{kind}-{place}", "timestamp": text}
        for place, kind in enumerate(("user", "assistant", "user", "assistant", "user"))
    ]
