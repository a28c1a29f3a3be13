"""Waiting with a bound, in the operator as on a host."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

import agentrunner.waiting
import agentsessions.waiting

Within = Callable[[float, Awaitable[object]], Awaitable[bool]]
both = pytest.mark.parametrize(
    "within", [agentrunner.waiting.within, agentsessions.waiting.within], ids=["host", "operator"]
)


@both
async def test_it_is_said_whether_the_end_came_in_time(within: Within) -> None:
    ended = asyncio.Event()
    assert not await within(0.01, ended.wait())
    ended.set()
    assert await within(0.01, ended.wait())


@both
async def test_what_takes_too_long_is_cancelled(within: Within) -> None:
    slow = asyncio.create_task(asyncio.Event().wait())
    assert not await within(0.01, slow)
    assert slow.cancelled()


@both
async def test_a_cancellation_at_the_moment_of_the_end_is_not_swallowed(within: Within) -> None:
    ended = asyncio.Event()
    waits = asyncio.ensure_future(within(10, ended.wait()))
    await asyncio.sleep(0)
    ended.set()
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits


@both
async def test_what_goes_wrong_is_told(within: Within) -> None:
    async def broken() -> None:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        await within(1, broken())
