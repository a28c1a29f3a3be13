"""Transcripts as the CLI writes them, in a few words, and a session store that fails where a test says."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from claude_agent_sdk import SessionKey, SessionListSubkeysKey, SessionStoreEntry, SessionStoreListEntry

from agentrunner.lines import Entry
from agentrunner.stores.base import Store, StoreError

PROJECT = "-workspace-one"
SESSION = "11111111-1111-4111-8111-111111111111"


def asked(uuid: str, text: str = "do it", **fields: Any) -> Entry:
    """Return a message of the user."""
    return {"type": "user", "uuid": uuid, "message": {"role": "user", "content": text}} | fields


def noted(uuid: str, text: str = "[Request interrupted by user]") -> Entry:
    """Return the CLI's own note in the user's place."""
    return asked(uuid) | {"message": {"role": "user", "content": [{"type": "text", "text": text}]}}


def tool_result(uuid: str, text: str = "done") -> Entry:
    """Return what a tool answered."""
    block = {"type": "tool_result", "tool_use_id": "t", "content": text}
    return {"type": "user", "uuid": uuid, "message": {"role": "user", "content": [block]}}


def answered(uuid: str, stop: str | None = "end_turn", **fields: Any) -> Entry:
    """Return what the agent said, or that it calls a tool."""
    kind = {"type": "tool_use", "name": "Bash"} if stop == "tool_use" else {"type": "text", "text": "well"}
    message = {"role": "assistant", "content": [kind], "stop_reason": stop}
    return {"type": "assistant", "uuid": uuid, "message": message} | fields


def entries(number: int, start: int = 0) -> list[Entry]:
    """Return entries that are all different."""
    return [{"type": "user", "uuid": f"u{n}", "n": n} for n in range(start, start + number)]


@dataclass
class Fault:
    """What befalls a call: `error` is raised, with the work `done` or not; `lose` does nothing and says yes."""

    error: StoreError | None = None
    done: bool = False
    lose: bool = False
    seconds: float = 0.0
    part: int | None = None


@dataclass
class FakeStore(Store):
    """A store in memory. `faults` befall the next calls of the method; `down` fails all of them."""

    data: dict[str | None, list[Entry]] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    down: StoreError | None = None
    calls: list[tuple[str, str | None, int]] = field(default_factory=list)
    claims: list[int] = field(default_factory=list)

    async def claim(self, key: SessionListSubkeysKey, epoch: int) -> None:
        """Take note of a claim."""
        await self._suffer("claim", {**key}, 0)  # type: ignore[typeddict-item]
        self.claims.append(epoch)

    def release(self, key: SessionListSubkeysKey) -> None:
        """Nothing to forget."""

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Add entries."""
        await self._do("append", key, entries, lambda found, new: found + new)

    async def replace(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Replace entries."""
        await self._do("replace", key, entries, lambda _, new: new)

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """Return entries."""
        await self._suffer("load", key, 0)
        return cast("list[SessionStoreEntry] | None", list(self.data.get(key.get("subpath"), [])) or None)

    async def count(self, key: SessionKey) -> int:
        """Return how many there are."""
        await self._suffer("count", key, 0)
        return len(self.data.get(key.get("subpath"), []))

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """Return the subpaths."""
        return [subpath for subpath in self.data if subpath is not None]

    async def size(self, key: SessionKey) -> int:
        """Not asked for here."""
        raise NotImplementedError

    async def list_projects(self) -> list[str]:
        """Not asked for here."""
        raise NotImplementedError

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """Not asked for here."""
        raise NotImplementedError

    async def delete(self, key: SessionKey) -> None:
        """Not asked for here."""
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to close."""

    def will(self, method: str, *faults: Fault) -> None:
        """Have the next calls of a method go wrong."""
        self.faults.setdefault(method, []).extend(faults)

    def has(self, subpath: str | None = None) -> list[Entry]:
        """Return what is stored."""
        return self.data.get(subpath, [])

    def writes(self, method: str = "append") -> int:
        """Return how often a method was called."""
        return sum(name == method for name, _, _ in self.calls)

    async def _do(self, method: str, key: SessionKey, given: Iterable[SessionStoreEntry], how: Any) -> None:
        new, subpath = cast("list[Entry]", list(given)), key.get("subpath")
        fault = await self._suffer(method, key, len(new))
        if fault is not None and fault.lose:
            return
        if fault is not None and fault.part is not None:
            new = new[: fault.part]
        self.data[subpath] = how(self.data.get(subpath, []), new)
        if fault is not None and fault.error is not None:
            raise fault.error

    async def _suffer(self, method: str, key: SessionKey, number: int) -> Fault | None:
        assert key["session_id"] == SESSION
        self.calls.append((method, key.get("subpath"), number))
        if self.down is not None:
            raise self.down
        waiting = self.faults.get(method, [])
        fault = waiting.pop(0) if waiting else None
        if fault is not None:
            await asyncio.sleep(fault.seconds)
            if fault.error is not None and not fault.done and fault.part is None:
                raise fault.error
        return fault
