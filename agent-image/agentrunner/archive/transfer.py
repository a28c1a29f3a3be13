"""Archives on their way between disk and bucket: packed while they are sent, unpacked while they come."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass

from agentrunner.archive.errors import ArchiveCorrupt, ArchiveError
from agentrunner.archive.manifest import Manifest, part_key
from agentrunner.archive.packing import Tally, pack
from agentrunner.archive.shelf import Shelf
from agentrunner.archive.threads import Feed, in_thread, on_disk
from agentrunner.archive.trees import Tree
from agentrunner.archive.unpacking import Source, Unpacking

PART = 8 * 1024 * 1024
"""Bytes of a part; one is on its way while the next one is made."""

_MAX_PART = 64 * 1024 * 1024
"""No part is larger, whatever it was made by."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent, in how many parts."""

    tally: Tally
    parts: int


async def send(shelf: Shelf, place: str, name: str, trees: Mapping[str, Tree], limit: int) -> Sent:
    """Pack trees into parts; raises ArchiveTooLarge over `limit` bytes. If it fails, what was sent is removed again."""
    tally, keys = Tally(), list[str]()
    try:
        async with aclosing(_ahead(pack(trees, limit, PART, tally))) as parts:
            async for part in parts:
                keys.append(part_key(place, name, len(keys)))
                await shelf.put(keys[-1], part)
    except BaseException:
        with suppress(ArchiveError):
            await shelf.delete(keys)
        raise
    return Sent(tally, len(keys))


async def receive(shelf: Shelf, place: str, manifest: Manifest, unpacking: Unpacking) -> None:
    """Unpack an archive; raises ArchiveCorrupt unless it is the one that the manifest describes."""
    keys = [part_key(place, manifest.name, number) for number in range(manifest.parts)]
    sizes = await shelf.sizes(f"{place}/{manifest.name}")
    # Before anything is read: a part is held in memory.
    found = [sizes.get(key, 0) for key in keys]
    _require(sum(found) == manifest.bytes and max(found) <= _MAX_PART)
    async with aclosing(_parts(shelf, keys, sizes)) as parts:
        feed = Feed(lambda: anext(parts, b""))
        source = Source(feed.pull, manifest.uncompressed_bytes)
        await in_thread(lambda: unpacking.run(source), feed.stop)
    expected = (manifest.sha256, manifest.bytes, manifest.uncompressed_bytes, manifest.files)
    _require((source.sha256, source.packed, source.plain, unpacking.files) == expected)


async def _ahead(packed: Generator[bytes, None, None]) -> AsyncGenerator[bytes, None]:
    """Yield parts, while the next one is packed in a thread."""
    coming = asyncio.ensure_future(_next(packed))
    try:
        while part := await coming:
            coming = asyncio.ensure_future(_next(packed))
            yield part
    finally:
        await _ended(coming)
        await on_disk(packed.close)  # the thread is out of it now


async def _parts(shelf: Shelf, keys: list[str], sizes: Mapping[str, int]) -> AsyncGenerator[bytes, None]:
    """Yield parts, while the next one is on its way."""
    coming = None
    try:
        for key in [*keys, None]:
            part = await coming if coming is not None else None
            coming = asyncio.ensure_future(shelf.get(key, sizes[key])) if key is not None else None
            if part is not None:
                yield part
    finally:
        if coming is not None:
            await _ended(coming)


async def _next(packed: Generator[bytes, None, None]) -> bytes:
    return await on_disk(lambda: next(packed, b""))


async def _ended(task: asyncio.Future[bytes] | asyncio.Future[bytes | None]) -> None:
    """Wait for a task whose answer is not wanted any more."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


def _require(holds: bool) -> None:
    if not holds:
        raise ArchiveCorrupt("the archive in the bucket is not the one that was packed: it was damaged or altered")
