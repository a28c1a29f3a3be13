"""How fast requests go to the API server: so many at a time, so many a second, and none while it asks for a pause."""

import asyncio
import time
from dataclasses import dataclass, field

from agentsessions import metrics

_LONGEST_PAUSE = 60.0
"""Seconds: an answer that asks for more is not believed."""


@dataclass
class Pace:
    """A bound on requests: `qps` a second, `burst` at once after a silence, `in_flight` without an answer yet.

    Requests wait for their turn in `async with`, and one after another get it. Bounds are of one process.
    """

    qps: float = 200.0
    burst: int = 400
    in_flight: int = 64
    _due: float = 0.0
    _paused_until: float = 0.0
    _places: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        """Make room."""
        self._places = asyncio.Semaphore(self.in_flight)

    async def __aenter__(self) -> None:
        """Wait for a turn."""
        began = time.monotonic()
        await self._places.acquire()
        try:
            await asyncio.sleep(self._delay(time.monotonic()))
            while (left := self._paused_until - time.monotonic()) > 0:  # noqa: ASYNC110 - it may have grown meanwhile
                await asyncio.sleep(left)
        except BaseException:
            self._places.release()
            raise
        metrics.api_throttled.inc(max(0.0, time.monotonic() - began))

    async def __aexit__(self, *_: object) -> None:
        """Give the place to the next."""
        self._places.release()

    def pause(self, seconds: float) -> None:
        """Send nothing for a while, as the API server asked for; then go on one by one, without a burst."""
        self._paused_until = max(self._paused_until, time.monotonic() + min(seconds, _LONGEST_PAUSE))
        self._due = max(self._due, self._paused_until)

    def _delay(self, now: float) -> float:
        """Take the next turn; return how many seconds after `now` (monotonic) it is."""
        self._due = max(self._due, now - self.burst / self.qps) + 1 / self.qps
        return max(0.0, self._due - now)
