"""Where requests wait for a session that is on its way: so many at most, and for so long."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from agentsessions.directory import metrics
from agentsessions.directory.config import DirectoryConfig
from agentsessions.directory.identity import User
from agentsessions.directory.paths import Target
from agentsessions.directory.whereabouts import Place, Whereabouts

_LOOK_SECONDS = 5.0
"""How long without any change until it is looked again: whoever asked for the wake may have failed."""


class Late(Exception):
    """The session was not there in time, or too many wait for it already."""


@dataclass
class Seat:
    """The right of one request to wait; as a context manager it is given back at the end.

    `since` is when its session had last slept as the wait began.
    """

    waiting: Counter[str]
    key: str
    since: str | None = None
    taken: bool = True

    def leave(self) -> None:
        """Give it back; once is enough."""
        if not self.taken:
            return
        self.taken = False
        metrics.held.dec()
        self.waiting[self.key] -= 1
        if not self.waiting[self.key]:
            del self.waiting[self.key]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.leave()


@dataclass
class Hall:
    """Counts who waits, and looks for sessions on their behalf."""

    config: DirectoryConfig
    whereabouts: Whereabouts
    _waiting: Counter[str] = field(default_factory=Counter)

    def seat(self, target: Target) -> Seat:
        """Return a seat; raises Late where there is none left."""
        key = f"{target.namespace}/{target.name}/{target.session_id}"
        full = self._waiting.total() >= self.config.max_held
        if full or self._waiting[key] >= self.config.max_held_per_session:
            raise Late
        self._waiting[key] += 1
        metrics.held.inc()
        return Seat(self._waiting, key, self.whereabouts.slept(target))

    async def wait(self, target: Target, user: User, seat: Seat) -> Place:
        """Look again at every change, until the session is there; raises Late, and whatever `find` raises."""
        until = asyncio.get_running_loop().time() + self.config.hold_seconds
        while (left := until - asyncio.get_running_loop().time()) > 0:
            await self.whereabouts.world.change(min(left, _LOOK_SECONDS))
            if (place := await self.whereabouts.find(target, user, seat.since)) is not None:
                return place
        raise Late
