"""Sessions in a bucket. Objects are only added, and removed once others say the same; `s3_layout` has their names."""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TypeVar
from weakref import WeakValueDictionary

from claude_agent_sdk import SessionKey, SessionListSubkeysKey, SessionStoreEntry, SessionStoreListEntry

from agentrunner.stores import s3_layout as layout
from agentrunner.stores.base import Store, StoreError, StoreUnreachable
from agentrunner.stores.bucket import AT_ONCE, Bucket, Missing
from agentrunner.stores.codec import decode_all, encode
from agentrunner.stores.keys import Keys, subpath
from agentrunner.stores.s3_layout import Chunk
from agentrunner.stores.stamps import Stamps

MAX_PARTS = 200
"""Objects that a transcript consists of at most; one more, and they are made into one."""

_MICROSECOND = 1_000
_READS = 3

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class S3Store(Store):
    """A session store in a bucket."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._keys = Keys(prefix)
        self._stamps = Stamps(_MICROSECOND)
        self._parts: dict[str, int] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        lines = [encode(entry) for entry in entries]
        if not lines:
            return
        folder = self._folder(key)
        async with self._turn(folder):
            if folder not in self._parts:
                await self._transcript(folder)
            await self._put(folder, self._stamps.next(), lines)
            self._parts[folder] += 1
            if self._parts[folder] > MAX_PARTS:
                with suppress(StoreError):  # what was added is there; the next one tries again
                    await self._compact(folder)

    async def replace(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        folder = self._folder(key)
        async with self._turn(folder):
            await self._replace(folder, [encode(entry) for entry in entries])

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        folder = self._folder(key)
        for _ in range(_READS):
            with suppress(Missing):  # made into one object since it was listed
                return decode_all(await self._read(await self._transcript(folder)))
        raise StoreUnreachable("the transcript changed while it was read")

    async def count(self, key: SessionKey) -> int:
        return sum(item.entries for item in await self._transcript(self._folder(key)))

    async def size(self, key: SessionKey) -> int:
        folders: defaultdict[str, list[Chunk]] = defaultdict(list)
        for item in await self._chunks(self._session(key)):
            folders[layout.folder(item.path)].append(item)
        chunks = [item for found in folders.values() for item in layout.transcript(found)]
        return sum(item.size - item.entries for item in chunks)  # without the ends of lines

    async def list_projects(self) -> list[str]:
        names = await self._bucket.folders(_quoted(self._keys.prefix))
        return sorted(map(layout.unquoted, names))

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        project = _quoted(self._keys.project(project_key))
        names = await self._bucket.folders(project)
        found = await _each([f"{project}/{name}/{layout.MAIN}" for name in names], self._chunks)
        return [
            {"session_id": layout.unquoted(name), "mtime": layout.last(chunks) // 1000}
            for name, chunks in zip(names, found, strict=True)
            if any(item.entries for item in layout.transcript(chunks))
        ]

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        names = await self._bucket.folders(f"{self._session(key)}/{layout.SUB}")
        return sorted(map(layout.unquoted, names))

    async def delete(self, key: SessionKey) -> None:
        folder = self._folder(key)
        async with self._turn(folder):
            await self._replace(folder, [])  # at once, and not piece by piece
            if not subpath(key):
                await self._bucket.delete([path for path, _ in await self._bucket.objects(self._session(key))])
                self._forget(self._session(key))

    async def close(self) -> None:
        self._bucket.close()

    async def _replace(self, folder: str, lines: list[bytes]) -> None:
        """Put all lines as one object, then remove what was there; of none, nothing stays."""
        before = await self._chunks(folder)
        self._parts.pop(folder, None)
        if not before and not lines:
            return
        self._stamps.seen(layout.last(before))
        put = await self._put(folder, self._stamps.next(), lines, whole=True)
        await self._bucket.delete([item.path for item in before])
        if not lines:
            await self._bucket.delete([put])

    async def _compact(self, folder: str) -> None:
        """Make one object of the transcript; parts that came since it was listed are later than it, and stay."""
        before = await self._chunks(folder)
        await self._put(folder, layout.last(before), await self._read(layout.transcript(before)), whole=True)
        self._parts[folder] = 1
        await self._bucket.delete([item.path for item in before])

    async def _put(self, folder: str, stamp: int, lines: list[bytes], whole: bool = False) -> str:
        path = f"{folder}/{layout.name(stamp, len(lines), secrets.token_hex(4), whole)}"
        await self._bucket.put(path, b"".join(line + b"\n" for line in lines))
        return path

    async def _read(self, chunks: list[Chunk]) -> list[bytes]:
        """Return the lines of these objects."""
        bodies = await _each(chunks, lambda item: self._bucket.get(item.path, item.size))
        lines = b"".join(bodies).split(b"\n")[:-1]
        if len(lines) != sum(item.entries for item in chunks):
            raise StoreError("an object in the bucket is not what its name says")
        return lines

    async def _transcript(self, folder: str) -> list[Chunk]:
        """Return the objects that make a transcript, and take note of them."""
        found = await self._chunks(folder)
        self._stamps.seen(layout.last(found))
        self._parts[folder] = len(found)
        return layout.transcript(found)

    async def _chunks(self, folder: str) -> list[Chunk]:
        found = (layout.chunk(path, size) for path, size in await self._bucket.objects(folder))
        return [item for item in found if item]

    def _session(self, key: SessionKey | SessionListSubkeysKey) -> str:
        return _quoted(self._keys.session(key))

    def _folder(self, key: SessionKey) -> str:
        session, path = self._session(key), subpath(key)
        return f"{session}/{layout.SUB}/{layout.quoted(path)}" if path else f"{session}/{layout.MAIN}"

    def _turn(self, folder: str) -> asyncio.Lock:
        """Return the lock that keeps the calls for one key in order."""
        return self._locks.setdefault(folder, asyncio.Lock())

    def _forget(self, session: str) -> None:
        for folder in [folder for folder in self._parts if folder.startswith(f"{session}/")]:
            del self._parts[folder]


def _quoted(path: str) -> str:
    return "/".join(map(layout.quoted, path.split("/")))


async def _each(items: Iterable[Item], call: Callable[[Item], Awaitable[Answer]]) -> list[Answer]:
    """Call for each item, some at once; return the answers in order."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(item: Item) -> Answer:
        async with places:
            return await call(item)

    return list(await asyncio.gather(*map(one, items)))
