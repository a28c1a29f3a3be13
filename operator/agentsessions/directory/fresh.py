"""Sessions as they are, for the moment before one is refused for what the watches told of it.

A watch is a moment behind. Whoever has just lifted a suspension or raised a bound, and seen in status that it holds,
must not be told by a gateway that it does not.
"""

import asyncio
import math
from dataclasses import dataclass, field

from agentsessions.directory.world import Key, SessionView, session_view
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import KubeError
from agentsessions.kube.paths import SESSIONS

_PAUSE_SECONDS = 1.0
"""Between two reads of one session: a client that asks again and again costs the API server no more than that."""

_PATIENCE_SECONDS = 2.0
"""For one read; a refusal by what the watches told is better than one that never comes."""

_MOST_WAITING = 32
"""Who may wait at a time. The rest takes the watches' word: a crowd at closed doors keeps nobody else from the API."""


@dataclass
class Fresh:
    """Reads of sessions, each begun after it was asked for; all who ask meanwhile share it."""

    kube: Kube
    _next: dict[Key, asyncio.Task[SessionView | None]] = field(default_factory=dict)
    _begun: dict[Key, float] = field(default_factory=dict)
    _waiting: int = 0

    async def session(self, key: Key) -> SessionView | None:
        """Return the session as it is now, after three seconds at most; None if there is none, or nobody can say."""
        if self._waiting >= _MOST_WAITING:
            return None
        if key not in self._next:
            self._next[key] = asyncio.create_task(self._read(key))
        self._waiting += 1
        try:
            return await asyncio.shield(self._next[key])
        finally:
            self._waiting -= 1

    async def _read(self, key: Key) -> SessionView | None:
        await asyncio.sleep(max(0.0, self._begun.get(key, -math.inf) + _PAUSE_SECONDS - _now()))
        del self._next[key]
        self._trim()
        self._begun[key] = _now()
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                raw = await self.kube.get(SESSIONS, *key)
            return session_view(raw) if raw is not None else None
        except (KubeError, TimeoutError, LookupError, OSError):  # also an answer that is no session
            return None

    def _trim(self) -> None:
        """Forget the reads that keep nobody waiting any more."""
        old = _now() - _PAUSE_SECONDS
        self._begun = {key: when for key, when in self._begun.items() if when > old}


def _now() -> float:
    return asyncio.get_running_loop().time()
