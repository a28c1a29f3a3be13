"""Blocking work in threads, and the way of a download into one. A cancelled caller leaves nothing running behind it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from agentrunner.archive.errors import ArchiveBlocked

Result = TypeVar("Result")


async def in_thread(work: Callable[[], Result], on_cancel: Callable[[], None] = lambda: None) -> Result:
    """Return what `work` returns. When cancelled, calls `on_cancel`, waits for the thread, and goes on with that."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        on_cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # taken note of: it goes under in the cancellation
        raise


class Feed:
    """Hands what an asynchronous reader returns to a thread that waits for it. To be made in the event loop."""

    def __init__(self, read: Callable[[], Awaitable[bytes]]) -> None:
        self._read = read
        self._loop = asyncio.get_running_loop()
        self._reading: asyncio.Task[Any] | None = None
        self._stopped = False

    def pull(self) -> bytes:
        """Return the next piece; called in the thread. Raises what the reader raises, CancelledError when stopped."""
        return asyncio.run_coroutine_threadsafe(self._take(), self._loop).result()

    def stop(self) -> None:
        """Have the thread end, once the reader has: nothing comes any more. Called in the event loop."""
        self._stopped = True
        if self._reading is not None:
            self._reading.cancel()

    async def _take(self) -> bytes:
        if self._stopped:
            raise asyncio.CancelledError
        self._reading = asyncio.current_task()
        return await self._read()


async def on_disk(work: Callable[[], Result]) -> Result:
    """Do in a thread what blocks; raises ArchiveBlocked for what the disk refuses."""
    try:
        return await in_thread(work)
    except OSError as error:
        raise ArchiveBlocked.by(error) from None
