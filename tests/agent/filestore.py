"""A session store of a test's own, in files: what it has outlives a host, and it fails when a test says so.

Files in its directory change how it behaves: `down` (nothing works), `slow` (every write takes as many seconds as the
file says), `lose` (writes are acknowledged and lost), `late` (no conversation is taken, only notes beside it).
"""

import asyncio
import json
from pathlib import Path
from typing import Any, cast

from claude_agent_sdk import SessionKey, SessionListSubkeysKey, SessionStore, SessionStoreEntry

from agentrunner.stores.base import StoreContext


class FileStore(SessionStore):
    """One file for each key."""

    def __init__(self, root: Path) -> None:
        self.root = root

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Add entries."""
        await self._behave()
        if (self.root / "lose").exists():
            return
        if (self.root / "late").exists() and not key.get("subpath"):
            raise ConnectionError("the store takes no conversation")
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in entries)

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """Return entries."""
        self._require_up()
        path = self._path(key)
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else None

    async def delete(self, key: SessionKey) -> None:
        """Remove entries."""
        await self._behave()
        self._path(key).unlink(missing_ok=True)

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """Return the other keys of a session."""
        self._require_up()
        folder = self._path(cast(SessionKey, dict(key)))
        folder = folder.with_name(folder.stem)
        return [str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.jsonl")]

    async def _behave(self) -> None:
        self._require_up()
        if (self.root / "slow").exists():
            await asyncio.sleep(float((self.root / "slow").read_text()))

    def _require_up(self) -> None:
        if (self.root / "down").exists():
            raise ConnectionError("the store is down")

    def _path(self, key: SessionKey) -> Path:
        name = f"{key['project_key']}/{key['session_id']}"
        return self.root / "keys" / (f"{name}/{key['subpath']}.jsonl" if key.get("subpath") else f"{name}.jsonl")


def factory(context: StoreContext) -> Any:
    """Return the store; its directory is named in the Secret."""
    return FileStore(Path((context.secrets / "directory").read_text()))
