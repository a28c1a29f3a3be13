"""A store of somebody else's making as one of ours: what it lacks is done with what it has."""

import inspect
from typing import Any

from claude_agent_sdk import SessionKey, SessionListSubkeysKey, SessionStore, SessionStoreEntry, SessionStoreListEntry

from agentrunner.stores.base import Store, StoreError, StoreRefused
from agentrunner.stores.bounded import bounded
from agentrunner.stores.codec import encode
from agentrunner.stores.keys import Keys

_OPTIONAL = ("list_sessions", "delete", "list_subkeys")


class AdaptedStore(Store):
    """Calls any object with the SDK's `append` and `load`; `prefix` is the store's own affair.

    Without `count`, `replace` and `size`: all is loaded to be counted, a transcript is replaced by `delete` and
    `append`, and bytes are those of the entries as JSON.
    """

    def __init__(self, store: SessionStore, prefix: str) -> None:
        self._store: Any = store
        self._keys = Keys(prefix)
        self.lacking = frozenset(name for name in _OPTIONAL if not self._has(name))

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        if entries:
            await self._call("append", key, entries)

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        return await self._call("load", key) or None

    async def count(self, key: SessionKey) -> int:
        if self._has("count"):
            return int(await self._call("count", key))
        return len(await self.load(key) or ())

    async def replace(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
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


def _explain(error: Exception) -> StoreError:
    return StoreError(f"the custom session store failed ({type(error).__name__})")
