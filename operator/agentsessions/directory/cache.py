"""Answers that are kept for a while; many who ask at once ask once."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
_MOST = 50_000


@dataclass
class Cache(Generic[T]):
    """Keeps answers; `keep` says for how many seconds each. An answer that failed is not kept."""

    keep: Callable[[T], float]
    clock: Callable[[], float] = time.monotonic
    _entries: "OrderedDict[Hashable, tuple[float, asyncio.Task[T]]]" = field(default_factory=OrderedDict)

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the answer to `key`, asked for if it is not known."""
        until, task = self._entries.get(key, (0.0, None))
        if task is None or (task.done() and until <= self.clock()):
            task = asyncio.ensure_future(self._ask(key, ask))
            self._entries[key] = (0.0, task)
            self._trim()
        # A client that hangs up must not take the answer from the others.
        return await asyncio.shield(task)

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        try:
            answer = await ask()
        except BaseException:
            self._entries.pop(key, None)
            raise
        if key in self._entries:
            self._entries[key] = (self.clock() + self.keep(answer), self._entries[key][1])
        return answer

    def _trim(self) -> None:
        while len(self._entries) > _MOST:
            self._entries.popitem(last=False)
