"""Removes what a deleted session has left behind: its conversation from the store, its workspace from the bucket.

Both are named as the session's host names them, by the working directory and the session's id. Doing it twice is no
harm.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

from agentrunner.archive.errors import ArchiveError, ArchiveUnreachable
from agentrunner.archive.vault import Vault
from agentrunner.errors import InvalidInput, RunnerError
from agentrunner.keeping.files import TranscriptFiles
from agentrunner.keeping.ledger import LEDGER
from agentrunner.keeping.opening import opened
from agentrunner.serving.settings import read_document
from agentrunner.stores.base import Store, StoreError, StoreUnreachable

PATIENCE_SECONDS = 60.0
"""How long a store or a bucket is tried again that gives no answer."""

_FIRST_PAUSE, _LAST_PAUSE = 1.0, 8.0
_HOST_DIR = "/var/run/agentsessions/session"

Say = Callable[[str], None]


async def forget(session_id: str, cwd: Path, say: Say, patience: float = PATIENCE_SECONDS) -> None:
    """Remove all of a session that the store and the archive of host.json have.

    `cwd` is the host's working directory, under which sessions have theirs. Raises InvalidInput, StoreError and
    ArchiveError; what one of the two refuses does not keep the other from being emptied.
    """
    session_id = _uuid(session_id)
    keeping = opened(read_document(Path(os.environ.get("AGENTSESSIONS_SESSION_DIR", _HOST_DIR))))
    until = asyncio.get_running_loop().time() + patience
    store, vault, troubles = keeping.store, keeping.vault, list[RunnerError]()
    try:
        if store is not None:
            await _tried(lambda: _forget_conversation(store, session_id, cwd, say), until, troubles)
        if vault is not None:
            await _tried(lambda: _forget_workspace(vault, session_id, say), until, troubles)
    finally:
        await keeping.close()
    if troubles:
        raise troubles[0]


async def _forget_conversation(store: Store, session_id: str, cwd: Path, say: Say) -> None:
    files = TranscriptFiles(cwd, cwd / session_id, session_id)
    await store.delete(files.key())
    if any([await store.count(files.key(subpath)) for subpath in (None, LEDGER)]):
        raise StoreError("the session store still has the conversation after it was told to delete it")
    say(f"removed the stored conversation of {session_id}")


async def _forget_workspace(vault: Vault, session_id: str, say: Say) -> None:
    await vault.delete(session_id)
    say(f"removed the archived workspace of {session_id}")


async def _tried(call: Callable[[], Awaitable[None]], until: float, troubles: list[RunnerError]) -> None:
    """Call until it is done; add to the troubles what another try cannot mend, or could not in time."""
    pause = _FIRST_PAUSE
    while True:
        try:
            return await call()
        except (StoreUnreachable, ArchiveUnreachable) as error:
            if asyncio.get_running_loop().time() + pause > until:
                return troubles.append(error)
        except (StoreError, ArchiveError) as error:
            return troubles.append(error)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LAST_PAUSE)


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise InvalidInput("the session must be named by its id, a UUID: see `status.sessionId`") from None
