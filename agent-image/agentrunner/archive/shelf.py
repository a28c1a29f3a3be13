"""Objects in the archive's bucket: few calls, each tried again where that can help, with the archive's errors."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, TypeVar

from agentrunner.archive.errors import ArchiveRefused, ArchiveUnreachable
from agentrunner.stores.base import StoreError, StoreUnreachable
from agentrunner.stores.bucket import Bucket, Missing
from agentrunner.stores.opening import credentials
from agentsessions.api.host import ArchiveSettings

PAUSES = (0.5, 2.0)
"""Seconds before each further try."""

Answer = TypeVar("Answer")


class Objects(Protocol):
    """What is needed of a bucket."""

    async def put(self, path: str, body: bytes) -> None: ...
    async def get(self, path: str, size: int) -> bytes: ...
    async def objects(self, folder: str) -> list[tuple[str, int]]: ...
    async def delete(self, paths: list[str]) -> None: ...


def open_bucket(settings: ArchiveSettings) -> Bucket:
    """Return the bucket that the settings name; raises InvalidInput for a Secret with one of two keys."""
    return Bucket(settings.s3, credentials(Path(settings.secrets)))


class Shelf:
    """A bucket's objects. All raise ArchiveUnreachable and ArchiveRefused; each can be done twice without harm."""

    def __init__(self, objects: Objects, name: str) -> None:
        self._objects = objects
        self._name = name

    async def put(self, key: str, body: bytes) -> None:
        """Write an object: all of it or nothing."""
        await self._tried(lambda: self._objects.put(key, body))

    async def get(self, key: str, size: int) -> bytes | None:
        """Return an object of about `size` bytes; None if there is none."""
        try:
            return await self._tried(lambda: self._objects.get(key, size))
        except Missing:
            return None

    async def sizes(self, folder: str) -> dict[str, int]:
        """Return the keys below a folder, with the bytes of each."""
        return dict(await self._tried(lambda: self._objects.objects(folder)))

    async def delete(self, keys: list[str]) -> None:
        """Remove objects; it is no harm if they are not there."""
        if keys:
            await self._tried(lambda: self._objects.delete(keys))

    async def _tried(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        for pause in PAUSES:
            try:
                return await self._once(call)
            except ArchiveUnreachable:
                await asyncio.sleep(pause)
        return await self._once(call)

    async def _once(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            return await call()
        except Missing:
            raise
        except StoreUnreachable as error:
            raise ArchiveUnreachable(f"bucket '{self._name}' of `workspace.archive`: {error.reason}") from None
        except StoreError as error:
            raise ArchiveRefused(f"bucket '{self._name}' of `workspace.archive`: {error.reason}") from None
