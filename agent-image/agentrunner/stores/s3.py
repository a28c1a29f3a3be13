"""Sessions in a bucket. Objects are only added, and removed once others say the same; `s3_layout` has their names."""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import NamedTuple, TypeVar
from weakref import WeakValueDictionary

from claude_agent_sdk import SessionKey, SessionListSubkeysKey, SessionStoreEntry, SessionStoreListEntry

from agentrunner.stores import s3_layout as layout
from agentrunner.stores.base import Store, StoreError, StoreUnreachable
from agentrunner.stores.bucket import AT_ONCE, Bucket, Missing
from agentrunner.stores.claims import Claims, require
from agentrunner.stores.codec import decode_all, encode
from agentrunner.stores.keys import Keys, subpath
from agentrunner.stores.s3_layout import Chunk, Fence
from agentrunner.stores.stamps import Stamps

MAX_PARTS = 200
"""Objects that a transcript consists of at most; one more, and they are made into one."""

MAX_FENCES = 20
"""Fences of earlier claims that stay; what a pod so long ago put can hardly still be on its way."""

_MICROSECOND = 1_000
_READS = 3

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Place(NamedTuple):
    """Where a transcript is: its session's folder, its own, and the epoch of the claim under which it is written."""

    session: str
    folder: str
    epoch: int | None = None


class S3Store(Store):
    """A session store in a bucket."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._keys = Keys(prefix)
        self._stamps = Stamps(_MICROSECOND)
        self._claims = Claims()
        self._parts: dict[str, int] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def claim(self, key: SessionListSubkeysKey, epoch: int) -> None:
        session = self._session(key)
        if all(one.epoch != epoch or one.stamp == layout.NO_CUT for one in await self._fences(session, epoch)):
            await self._fence_off(session, epoch)
        self._claims.made(key, epoch)

    def release(self, key: SessionListSubkeysKey) -> None:
        self._claims.dropped(key)

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        lines = [encode(entry) for entry in entries]
        if not lines:
            return
        place = self._place(key)
        async with self._turn(place.folder):
            if place.folder not in self._parts:
                await self._transcript(place)
            await self._put(place, self._stamps.next(), lines)
            self._parts[place.folder] += 1
            if self._parts[place.folder] > MAX_PARTS:
                with suppress(StoreError):  # what was added is there; the next one tries again
                    await self._compact(place)

    async def replace(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        place = self._place(key)
        async with self._turn(place.folder):
            await self._replace(place, [encode(entry) for entry in entries])

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        place = self._place(key)
        for _ in range(_READS):
            with suppress(Missing):  # made into one object since it was listed
                return decode_all(await self._read(await self._transcript(place)))
        raise StoreUnreachable("the transcript changed while it was read")

    async def count(self, key: SessionKey) -> int:
        return sum(item.entries for item in await self._transcript(self._place(key)))

    async def size(self, key: SessionKey) -> int:
        folders: defaultdict[str, list[Chunk]] = defaultdict(list)
        session = self._session(key)
        for item in await self._chunks(_Place(session, session)):
            folders[layout.folder(item.path)].append(item)
        chunks = [item for found in folders.values() for item in layout.transcript(found)]
        return sum(item.size - item.entries for item in chunks)  # without the ends of lines

    async def list_projects(self) -> list[str]:
        names = await self._bucket.folders(_quoted(self._keys.prefix))
        return sorted(map(layout.unquoted, names))

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        project = _quoted(self._keys.project(project_key))
        names = await self._bucket.folders(project)
        places = [_Place(f"{project}/{name}", f"{project}/{name}/{layout.MAIN}") for name in names]
        found = await _each(places, self._chunks)
        return [
            {"session_id": layout.unquoted(name), "mtime": layout.last(chunks) // 1000}
            for name, chunks in zip(names, found, strict=True)
            if any(item.entries for item in layout.transcript(chunks))
        ]

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        names = await self._bucket.folders(f"{self._session(key)}/{layout.SUB}")
        return sorted(map(layout.unquoted, names))

    async def delete(self, key: SessionKey) -> None:
        place = self._place(key)
        async with self._turn(place.folder):
            await self._replace(place, [])  # at once, and not piece by piece
            if not subpath(key):
                await self._bucket.delete([path for path, _ in await self._bucket.objects(place.session)])
                self._forget(place.session)

    async def close(self) -> None:
        self._bucket.close()

    async def _fence_off(self, session: str, epoch: int) -> None:
        """Put up a claim's fence: see `s3_layout` for the order. Raises StoreFenced."""
        await self._bucket.put(f"{session}/{layout.FENCE}/{layout.fence_name(epoch, layout.NO_CUT)}", b"")
        fences = await self._fences(session, epoch)
        found = await self._objects(session)
        counting = layout.inside(found, fences)
        cut = layout.last(counting)
        self._stamps.seen(cut)
        await self._bucket.put(f"{session}/{layout.FENCE}/{layout.fence_name(epoch, cut)}", b"")
        old = sorted((one for one in fences if one.stamp != layout.NO_CUT), key=lambda one: one.epoch)
        done = [one.path for one in (*(one for one in fences if one not in old), *old[:-MAX_FENCES])]
        await self._bucket.delete(done + [item.path for item in found if item not in counting])

    async def _fences(self, session: str, epoch: int | None) -> list[Fence]:
        """Return all fences; raise StoreFenced if one is of a later epoch."""
        found = (layout.fence(path) for path, _ in await self._bucket.objects(f"{session}/{layout.FENCE}"))
        fences = [one for one in found if one]
        require(epoch, max((one.epoch for one in fences), default=0))
        return fences

    async def _replace(self, place: _Place, lines: list[bytes]) -> None:
        """Put all lines as one object, then remove what was there; of none, nothing stays."""
        before = await self._chunks(place)
        self._parts.pop(place.folder, None)
        if not before and not lines:
            return
        self._stamps.seen(layout.last(before))
        put = await self._put(place, self._stamps.next(), lines, whole=True)
        await self._fences(place.session, place.epoch)  # who claims from now on sees what was put
        await self._bucket.delete([item.path for item in before])
        if not lines:
            await self._bucket.delete([put])

    async def _compact(self, place: _Place) -> None:
        """Make one object of the transcript; parts that came since it was listed are later than it, and stay."""
        before = await self._chunks(place)
        await self._put(place, layout.last(before), await self._read(layout.transcript(before)), whole=True)
        self._parts[place.folder] = 1
        await self._bucket.delete([item.path for item in before])

    async def _put(self, place: _Place, stamp: int, lines: list[bytes], whole: bool = False) -> str:
        epoch = place.epoch if place.epoch is not None else await self._latest(place.session)
        path = f"{place.folder}/{layout.name(stamp, len(lines), secrets.token_hex(4), whole, epoch)}"
        await self._bucket.put(path, b"".join(line + b"\n" for line in lines))
        return path

    async def _latest(self, session: str) -> int | None:
        """Return the epoch of the latest claim, by which who has claimed nothing writes; None if there was none."""
        return max((one.epoch for one in await self._fences(session, None)), default=None)

    async def _read(self, chunks: list[Chunk]) -> list[bytes]:
        """Return the lines of these objects."""
        bodies = await _each(chunks, lambda item: self._bucket.get(item.path, item.size))
        lines = b"".join(bodies).split(b"\n")[:-1]
        if len(lines) != sum(item.entries for item in chunks):
            raise StoreError("an object in the bucket is not what its name says")
        return lines

    async def _transcript(self, place: _Place) -> list[Chunk]:
        """Return the objects that make a transcript, and take note of them."""
        found = await self._chunks(place)
        self._stamps.seen(layout.last(found))
        self._parts[place.folder] = len(found)
        return layout.transcript(found)

    async def _chunks(self, place: _Place) -> list[Chunk]:
        """Return the objects that count; raise StoreFenced if the session was claimed since this object did."""
        found = await self._objects(place.folder)
        return layout.inside(found, await self._fences(place.session, place.epoch))

    async def _objects(self, folder: str) -> list[Chunk]:
        found = (layout.chunk(path, size) for path, size in await self._bucket.objects(folder))
        return [item for item in found if item]

    def _session(self, key: SessionKey | SessionListSubkeysKey) -> str:
        return _quoted(self._keys.session(key))

    def _place(self, key: SessionKey) -> _Place:
        session, path = self._session(key), subpath(key)
        folder = f"{session}/{layout.SUB}/{layout.quoted(path)}" if path else f"{session}/{layout.MAIN}"
        return _Place(session, folder, self._claims.of(key))

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
