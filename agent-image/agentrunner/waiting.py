"""Waiting for something, but not for ever."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress


async def within(seconds: float, awaited: Awaitable[object]) -> bool:
    """Wait for so many seconds at most, and return whether it came to its end by then; it is cancelled otherwise.

    Not `asyncio.wait_for`: Python 3.11's may swallow a cancellation that comes at the moment of the end, and who is
    to stop then goes on.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await awaited
            return True
    return False
