"""Hosts whose sessions are kept in a store, beyond any pod."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.host import Host, Json, Talk
from agent.model import Model, script


class Kept:
    """A host whose sessions are kept in a store, which outlives its pods."""

    def __init__(self, folder: Path, model: Model, kind: type[Host] = Host) -> None:
        self.store = folder / "store"
        secrets = folder / "secrets"
        for place in (self.store, secrets, folder / "host"):
            place.mkdir()
        (secrets / "directory").write_text(str(self.store))
        settings = {
            "type": "Custom",
            "prefix": "test/team",
            "secrets": str(secrets),
            "custom": {"entryPoint": "agent.filestore:factory"},
        }
        self.model = model
        self.settings = settings
        self.host = kind(folder / "host", model.url, store=settings)

    def fault(self, name: str, value: str = "") -> Path:
        """Have the store fail; unlink what this returns to mend it."""
        path = self.store / name
        path.write_text(value)
        return path

    def entries(self, session_id: str) -> list[Json]:
        """Return what the store has of a conversation."""
        found = list(self.store.glob(f"keys/*/{session_id}.jsonl"))
        return [json.loads(line) for path in found for line in path.read_text().splitlines()]

    async def only_on_its_disk(self) -> tuple[Talk, Path]:
        """Return a session that was `answered` while its store was away, and what to unlink to have the store back."""
        talk = await self.host.give()
        await talk.say(script({"text": "stored"}))
        down = self.fault("down")
        assert (await talk.say(script({"text": "answered"})))[-1].kind == "done"
        assert "answered" not in str(self.entries(talk.session_id))
        return talk, down

    async def in_a_tool(self, talk: Talk, gate: Path) -> None:
        """Wait until a tool made its file, and the store has the call; the prompt alone names the command, too."""
        async with asyncio.timeout(60):
            while '"tool_use"' not in json.dumps(self.entries(talk.session_id)) or not begun(gate):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def is_quiet(self, talk: Talk) -> None:
        """Wait until nothing has been stored of a conversation for a second."""
        async with asyncio.timeout(60):
            before = None
            while before != (before := self.entries(talk.session_id)):  # noqa: ASYNC110
                await asyncio.sleep(1)

    @asynccontextmanager
    async def on_another_node(self) -> AsyncIterator[Host]:
        """A second pod beside the first, with a disk of its own at the same place."""
        folder = self.store.parent / "other"
        folder.mkdir()
        host = Host(folder, self.model.url, seen_as=self.host.folder, store=self.settings)
        try:
            await host.start()
            yield host
        finally:
            await host.destroy()

    async def another_pod(self) -> None:
        """Lose the pod with its disk, and start the next."""
        await self.host.vanish()
        await self.host.start()


def begun(gate: Path) -> bool:
    """Say whether a tool made its file."""
    return gate.exists()


def said(model: Model) -> str:
    """Return all that the model was last sent."""
    return json.dumps(model.bodies[-1]["messages"])
