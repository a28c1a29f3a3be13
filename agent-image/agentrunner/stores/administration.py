"""What an administrator asks of a session store: which sessions there are, how large they are, and to delete one."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from claude_agent_sdk import SessionKey

from agentrunner.stores.base import Store
from agentrunner.stores.opening import open_store
from agentsessions.api.host import StoreSettings

Say = Callable[[str], None]
Action = Callable[[Store, argparse.Namespace, Say], Awaitable[int]]

_AT_ONCE = 16
_HEAD = ("SESSION", "ENTRIES", "BYTES", "CHANGED", "PROJECT")


@dataclass(frozen=True, slots=True)
class Row:
    """One session: bytes with its subkeys, and when its transcript last grew."""

    key: SessionKey
    entries: int
    size: int
    changed: datetime


async def using(settings: StoreSettings, action: Action, options: argparse.Namespace, say: Say) -> int:
    """Open the store, act, and close it; return the exit code. Raises InvalidInput and StoreError."""
    store = open_store(settings)
    try:
        return await action(store, options, say)
    finally:
        await store.close()


async def list_all(store: Store, options: argparse.Namespace, say: Say) -> int:
    """Print a table of the sessions, those that changed last at its end."""
    for line in table(await rows(store, await all_sessions(store, options.project))):
        say(line)
    return 0


async def rows(store: Store, found: Iterable[tuple[SessionKey, int]]) -> list[Row]:
    """Return what there is to say of sessions, those that changed last at the end."""
    places = asyncio.Semaphore(_AT_ONCE)
    made = await asyncio.gather(*(_row(store, key, mtime, places) for key, mtime in found))
    return sorted(made, key=lambda row: row.changed)


def table(rows: Iterable[Row]) -> list[str]:
    """Return the lines of a table with a head."""
    lines = [_HEAD, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


async def size(store: Store, options: argparse.Namespace, say: Say) -> int:
    """Print the bytes of a session."""
    key = await _find(store, options, say)
    if key is None:
        return 1
    say(str(await store.size(key)))
    return 0


async def delete(store: Store, options: argparse.Namespace, say: Say) -> int:
    """Delete a session."""
    key = await _find(store, options, say)
    if key is None:
        return 1
    entries = await store.count(key)
    await store.delete(key)
    say(f"deleted {key['session_id']}, which had {entries} entries")
    return 0


async def all_sessions(store: Store, project: str | None) -> list[tuple[SessionKey, int]]:
    """Return the sessions with their last change (milliseconds since 1970), of one project or of all."""
    projects = [project] if project else await store.list_projects()
    return [
        ({"project_key": name, "session_id": item["session_id"]}, item["mtime"])
        for name in projects
        for item in await store.list_sessions(name)
    ]


async def _find(store: Store, options: argparse.Namespace, say: Say) -> SessionKey | None:
    found = [key for key, _ in await all_sessions(store, options.project) if key["session_id"] == options.session]
    if len(found) == 1:
        return found[0]
    if found:
        say(f"{len(found)} projects have a session {options.session}: name one by --project")
    else:
        say(f"there is no session {options.session} under {options.prefix}")
    return None


async def _row(store: Store, key: SessionKey, mtime: int, places: asyncio.Semaphore) -> Row:
    async with places:
        changed = datetime.fromtimestamp(mtime / 1000, UTC)
        return Row(key, await store.count(key), await store.size(key), changed)


def _cells(row: Row) -> tuple[str, ...]:
    changed = row.changed.isoformat(timespec="seconds").replace("+00:00", "Z")
    return row.key["session_id"], str(row.entries), str(row.size), changed, row.key["project_key"]
