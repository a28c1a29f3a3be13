"""A store of somebody else's making as one of ours: what it lacks is done with what it has."""

import inspect
from typing import Any

from claude_agent_sdk import SessionKey, SessionListSubkeysKey, SessionStore, SessionStoreEntry, SessionStoreListEntry

from agentrunner.stores.base import Store, StoreError, StoreRefused
from agentrunner.stores.bounded import bounded
from agentrunner.stores.claims import Claims, require
from agentrunner.stores.codec import encode
from agentrunner.stores.keys import Keys

_EPOCH = "agentsessions/epoch"
_OPTIONAL = ("list_sessions", "delete", "list_subkeys")


class AdaptedStore(Store):
    """Calls any object with the SDK's `append` and `load`; `prefix` is the store's own affair.

    Without `count`, `replace` and `size`: all is loaded to be counted, a transcript is replaced by `delete` and
    `append`, and bytes are those of the entries as JSON. Without `claim`: an entry under a subkey says who claimed
    last, and is read before every write; a write that is on its way just then is not kept from being added.
    """

    def __init__(self, store: SessionStore, prefix: str) -> None:
        self._store: Any = store
        self._keys = Keys(prefix)
        self._claims = Claims()
        self.lacking = frozenset(name for name in _OPTIONAL if not self._has(name))

    async def claim(self, key: SessionListSubkeysKey, epoch: int) -> None:
        if self._has("claim"):
            await self._call("claim", key, epoch)
            return
        held = await self._held(key)
        require(epoch, held)
        if held != epoch:
            note: SessionStoreEntry = {"type": "epoch", "uuid": str(epoch)}
            await self._call("append", _epoch_key(key), [note])
        self._claims.made(key, epoch)

    def release(self, key: SessionListSubkeysKey) -> None:
        self._claims.dropped(key)

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        if entries:
            await self._require_claim(key)
            await self._call("append", key, entries)

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        return await self._call("load", key) or None

    async def count(self, key: SessionKey) -> int:
        await self._require_claim(key)
        if self._has("count"):
            return int(await self._call("count", key))
        return len(await self.load(key) or ())

    async def replace(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        await self._require_claim(key)
        if self._has("replace"):
            await self._call("replace", key, entries)
            return
        # Deleting a session takes its subkeys with it, which nobody asked for.
        below = [] if "subpath" in key else await self._below(key)
        await self.delete(key)
        for subkey, found in [(key, entries), *below]:
            await self.append(subkey, found)

    async def size(self, key: SessionKey) -> int:
        if self._has("size"):
            return int(await self._call("size", key))
        main: SessionKey = {"project_key": key["project_key"], "session_id": key["session_id"]}
        transcripts = [await self.load(main) or [], *(found for _, found in await self._below(main))]
        return sum(len(encode(entry)) for found in transcripts for entry in found)

    async def list_projects(self) -> list[str]:
        found: list[str] = await self._call("list_projects")
        return found

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        self._keys.project(project_key)
        found: list[SessionStoreListEntry] = await self._call("list_sessions", project_key)
        return found

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        found: list[str] = await self._call("list_subkeys", key)
        return found

    async def delete(self, key: SessionKey) -> None:
        await self._call("delete", key)

    async def close(self) -> None:
        if self._has("close"):
            async with bounded(_explain):
                closing = self._store.close()
                if inspect.isawaitable(closing):
                    await closing

    async def _require_claim(self, key: SessionKey) -> None:
        """Raise StoreFenced if the session was claimed since this object did."""
        if (epoch := self._claims.of(key)) is not None:
            require(epoch, await self._held(key))

    async def _held(self, key: SessionKey | SessionListSubkeysKey) -> int:
        """Return the epoch that claimed last; 0 if none did."""
        notes: Any = await self.load(_epoch_key(key)) or []
        return max((int(note.get("uuid") or 0) for note in notes), default=0)

    async def _below(self, key: SessionKey) -> list[tuple[SessionKey, list[SessionStoreEntry]]]:
        """Return the subkeys of a session with their entries."""
        if "list_subkeys" in self.lacking:
            return []
        main: SessionListSubkeysKey = {"project_key": key["project_key"], "session_id": key["session_id"]}
        subkeys: list[SessionKey] = [{**key, "subpath": path} for path in await self.list_subkeys(main)]
        return [(subkey, await self.load(subkey) or []) for subkey in subkeys]

    async def _call(self, method: str, *arguments: Any) -> Any:
        if not self._has(method):
            raise StoreRefused(f"the custom session store has no method `{method}`")
        if arguments and isinstance(arguments[0], dict):
            self._keys.text(arguments[0])  # type: ignore[arg-type]
        async with bounded(_explain):
            return await getattr(self._store, method)(*arguments)

    def _has(self, method: str) -> bool:
        """Whether the store has a method of its own; those of the protocol itself only say that it is not there."""
        own = getattr(type(self._store), method, None)
        return callable(own) and own is not getattr(SessionStore, method, None)


def _epoch_key(key: SessionKey | SessionListSubkeysKey) -> SessionKey:
    return {"project_key": key["project_key"], "session_id": key["session_id"], "subpath": _EPOCH}


def _explain(error: Exception) -> StoreError:
    return StoreError(f"the custom session store failed ({type(error).__name__})")
