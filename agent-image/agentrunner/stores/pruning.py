"""Deletes conversations whose session is gone: those that are old, and that no living session has."""

import argparse
import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

from claude_agent_sdk import SessionKey

from agentrunner.stores.administration import Say, all_sessions, rows, table
from agentrunner.stores.base import Store
from agentrunner.stores.living import read_living


async def prune(store: Store, options: argparse.Namespace, say: Say) -> int:
    """Print the conversations that are nobody's and have not grown for so long; with --delete, delete them.

    Raises InvalidInput and StoreError; what was deleted before an error is gone, and another run goes on.
    """
    living = await asyncio.to_thread(
        read_living, options.living, options.prefix, none=options.none_living, implicit_too=options.implicit_too
    )
    before = datetime.now(UTC) - timedelta(days=options.older_than_days)
    found = [(key, mtime) for key, mtime in await all_sessions(store, options.project) if is_old(mtime, before)]
    nobodys = [(key, mtime) for key, mtime in found if is_nobodys(key, living)]
    for line in table(await rows(store, nobodys)):
        say(line)
    if not options.delete:
        say(f"{len(nobodys)} conversations would be deleted; --delete does it")
        return 0
    for key, _ in nobodys:
        await store.delete(key)
    say(f"deleted {len(nobodys)} conversations")
    return 0


def is_old(mtime: int, before: datetime) -> bool:
    """Return whether a conversation last grew (milliseconds since 1970) before then; of unknown age is not old."""
    return 0 < mtime < before.timestamp() * 1000


def is_nobodys(key: SessionKey, living: frozenset[str]) -> bool:
    """Return whether a conversation is one of ours, whose id is a UUID, and of no living session."""
    try:
        return str(UUID(key["session_id"])) == key["session_id"] and key["session_id"] not in living
    except ValueError:
        return False
