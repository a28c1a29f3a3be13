"""A transcript that grows, and its copying into a made-up store."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agentrunner.keeping.files import TranscriptFiles, as_stored
from agentrunner.keeping.mirror import Mirror
from agentrunner.lines import Entry, dump
from unit.agentrunner.keeping.talks import SESSION, FakeStore


class Stage:
    """A transcript that grows, its copy, and how often the copy's state changed."""

    def __init__(self, folder: Path, store: FakeStore) -> None:
        self.store = store
        self.files = TranscriptFiles(folder, Path("/workspace/one"), SESSION)
        self.changes = 0
        self.mirror = Mirror(store, self.files, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def write(self, new: list[Entry], subpath: str | None = None) -> None:
        """Let the CLI write."""
        path = self.files.path(subpath)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(dump(new))

    async def announce(self, new: list[Entry]) -> None:
        """Let the SDK tell of what the CLI writes."""
        await self.mirror.signal.append(self.files.key(), as_stored(new))

    async def copied(self, whole: list[Entry], subpath: str | None = None) -> None:
        """Wait until the store has it."""
        async with asyncio.timeout(5):
            while self.store.has(subpath) != whole:  # noqa: ASYNC110 - the store has no event
                await asyncio.sleep(0.001)


@asynccontextmanager
async def stage(folder: Path, store: FakeStore | None = None, *, begun: bool = True) -> AsyncIterator[Stage]:
    """Yield a stage whose copying has begun."""
    made = Stage(folder, store or FakeStore())
    if begun:
        await made.mirror.begin()
    try:
        yield made
    finally:
        await made.mirror.close()
