"""A reading of the meter that comes after the end of its turn."""

import asyncio
from types import SimpleNamespace
from typing import Any

from agentrunner.run import _Attempt


async def test_it_does_not_take_the_place_of_what_was_reported_of_the_end() -> None:
    asked, answered, over = asyncio.Event(), asyncio.Event(), asyncio.Event()
    written: list[object] = []

    async def meter() -> str:
        asked.set()
        try:
            await answered.wait()
        except asyncio.CancelledError:  # as `asyncio.wait_for` of Python 3.11 does for who has its answer
            return "late"
        return "in time"

    news = asyncio.Event()
    news.set()
    books = SimpleNamespace(progress=lambda reading, _: written.append(reading), usage=None)
    attempt: Any = SimpleNamespace(
        _news=news, _books=books, _progress=SimpleNamespace(turns=1), _company=SimpleNamespace(facts=SimpleNamespace())
    )
    session: Any = SimpleNamespace(meter=meter)
    watch = asyncio.create_task(_Attempt._watch(attempt, session, over))
    await asked.wait()
    over.set()
    watch.cancel()
    await asyncio.wait({watch}, timeout=5)
    assert watch.done()
    assert written == []
