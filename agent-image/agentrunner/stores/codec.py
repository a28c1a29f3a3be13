"""Entries as lines of JSON. What comes back is what was given: order of keys, numbers, and every character."""

import json
from collections.abc import Iterable
from typing import Any

from claude_agent_sdk import SessionStoreEntry

from agentrunner.stores.base import StoreError


def encode(entry: SessionStoreEntry) -> bytes:
    """Return an entry as one line of UTF-8, without its end."""
    try:
        return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold and UTF-8 cannot
        return json.dumps(entry, separators=(",", ":")).encode()


def decode(line: bytes | str) -> SessionStoreEntry:
    """Return the entry of a line; raise StoreError when it is none."""
    try:
        entry: Any = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        raise StoreError("the session store holds something that is no entry of a transcript")
    return entry  # type: ignore[return-value]


def decode_all(lines: Iterable[bytes | str]) -> list[SessionStoreEntry] | None:
    """Return the entries of lines; None if there are none."""
    return [decode(line) for line in lines] or None
