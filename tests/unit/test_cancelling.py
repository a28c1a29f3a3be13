"""Whoever waits for something ends when it is cancelled, also at the very moment in which that something comes.

`asyncio.wait_for` of Python 3.11 then returns as if nothing had been asked, and a task that loops goes on for ever.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from agentrunner.serving.eventlog import EventLog
from agentrunner.serving.news import News
from agentsessions.api.config import LeaderElection
from agentsessions.directory.world import World
from agentsessions.kube.lease import Leadership
from agentsessions.reconcile.queue import SessionQueue

LONG = 60.0


@dataclass
class Waiting:
    """Something that waits, and what it waits for."""

    wait: Callable[[], Awaitable[Any]]
    comes: Callable[[], Any]


def for_the_end_of_work() -> Waiting:
    """A queue that waits for what is in hand."""
    at_work, done = asyncio.Event(), asyncio.Event()

    async def work(key: Any) -> None:
        at_work.set()
        await done.wait()

    async def drain() -> None:
        queue = SessionQueue(work, workers=1)
        running = asyncio.create_task(queue.run())
        try:
            queue.add(("a", "b"))
            await at_work.wait()
            await queue.drain(LONG)
            await asyncio.sleep(LONG)
        finally:
            running.cancel()

    return Waiting(drain, done.set)


def for_a_renewal() -> Waiting:
    """A leader that renews its Lease, for ever."""
    answer = asyncio.Event()

    class Api:
        async def get(self, *_: Any) -> None:
            await answer.wait()

        async def create(self, *_: Any) -> Any:
            return {"metadata": {"resourceVersion": "1"}, "spec": {"holderIdentity": "me"}}

    settings = LeaderElection(enabled=True, lease_seconds=200, renew_seconds=100, retry_seconds=0.1)
    leadership = Leadership(Api(), settings, "me")  # type: ignore[arg-type]
    leadership._until = float("inf")
    return Waiting(leadership.hold, answer.set)


def for_an_event() -> Waiting:
    """A reader of a session's events."""
    log = EventLog("abc")

    async def read() -> None:
        while True:
            await log.wait(log.last, LONG)

    return Waiting(read, lambda: log.append("message", {}, turn=1))


def for_news() -> Waiting:
    """A follower of a host's news."""
    news = News()

    class Registry:
        draining = False

        def snapshot(self) -> Any:
            return self

        def to_json(self) -> Any:
            return {}

    async def follow() -> None:
        async for _ in news.follow(Registry()):  # type: ignore[arg-type]
            pass

    return Waiting(follow, news.host_changed)


def for_a_change() -> Waiting:
    """A request at the gateway that waits for its session."""
    world = World()

    async def follow() -> None:
        while True:
            await world.change(LONG)

    return Waiting(follow, lambda: world.pod("uid", None))


@pytest.mark.parametrize("steps", range(4))
@pytest.mark.parametrize(
    "make", [for_the_end_of_work, for_a_renewal, for_an_event, for_news, for_a_change], ids=lambda make: make.__name__
)
async def test_a_cancellation_at_the_moment_in_which_what_was_waited_for_comes(
    make: Callable[[], Waiting], steps: int
) -> None:
    waiting = make()
    task = asyncio.ensure_future(waiting.wait())
    await asyncio.sleep(0.2)
    assert not task.done()
    waiting.comes()
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=0.5)
    if not done:
        task.cancel()
    assert done, "it goes on"
    assert task.cancelled()
