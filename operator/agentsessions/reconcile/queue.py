"""A queue of keys, of sessions or pools: each once in it, never two workers on one, delays, backoff after errors.

Keys that were merely listed, and rest, wait behind all others: after a restart among ten thousand sessions, whoever
sends a message does not wait for all of these to be looked at.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from agentsessions import logs, metrics
from agentsessions.kube.errors import Conflict, KubeError, NotFound
from agentsessions.waiting import within

Key = tuple[str, str]
_FIRST_BACKOFF = 0.5
_LAST_BACKOFF = 60.0
_LISTED_LATER = 600.0
"""Seconds of advance that others have before a key that was merely listed: bounded, so that none waits for ever."""


@dataclass
class SessionQueue:
    """Runs `work` for every key that was asked for, with `workers` at a time; the main one is measured.

    `_queued` and `_busy` say since when (monotonic seconds) a key waits or is worked on, oldest first. `_ready` has
    keys by whose turn it is; one that was listed and then concerned is in it twice, and counts once.
    """

    work: Callable[[Key], Awaitable[timedelta | None]]
    workers: int
    is_main: bool = True
    _ready: asyncio.PriorityQueue[tuple[float, Key]] = field(default_factory=asyncio.PriorityQueue)
    _queued: dict[Key, float] = field(default_factory=dict)
    _listed: set[Key] = field(default_factory=set)
    _busy: dict[Key, float] = field(default_factory=dict)
    _again: set[Key] = field(default_factory=set)
    _timers: dict[Key, asyncio.TimerHandle] = field(default_factory=dict)
    _errors: dict[Key, int] = field(default_factory=dict)
    _closed: bool = False
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, key: Key, *, listed: bool = False) -> None:
        """Ask for a key to be worked on; asking twice is asking once. `listed`: one knows only that it is there."""
        now = time.monotonic()
        if key in self._busy:
            self._again.add(key)
        elif key not in self._queued or (key in self._listed and not listed):
            self._queued.setdefault(key, now)
            (self._listed.add if listed else self._listed.discard)(key)
            self._ready.put_nowait((now + _LISTED_LATER * listed, key))
            self._measure()

    def add_later(self, key: Key, delay: float) -> None:
        """Ask for a key after `delay` seconds; the latest wish replaces the one before."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(max(0.0, delay), self._due, key)

    def forget(self, key: Key) -> None:
        """Drop what was planned for a key, and its errors."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        self._errors.pop(key, None)

    async def run(self) -> None:
        """Work until cancelled; `drain` first, so that nothing is cut off."""
        if self.is_main:
            metrics.reconcile_queue_oldest.set_function(self._oldest_wish)
            metrics.longest_running.set_function(lambda: _age(self._busy))
        async with asyncio.TaskGroup() as group:
            for _ in range(self.workers):
                group.create_task(self._worker())

    async def drain(self, seconds: float) -> None:
        """Start no more work and wait for what is in hand, for at most `seconds`."""
        self._closed = True
        if self._busy:
            self._idle.clear()
            await within(seconds, self._idle.wait())

    def _oldest_wish(self) -> float:
        """Return for how many seconds the oldest key waits that was not merely listed."""
        since = next((since for key, since in self._queued.items() if key not in self._listed), None)
        return time.monotonic() - since if since is not None else 0.0

    def _measure(self) -> None:
        """Say how long the queue is."""
        if self.is_main:
            metrics.queue_depth.set(len(self._queued))

    def _due(self, key: Key) -> None:
        """Turn a timer that went off into a wish."""
        self._timers.pop(key, None)
        self.add(key)

    async def _worker(self) -> None:
        """Work on one key after another."""
        while True:
            _, key = await self._ready.get()
            if self._queued.pop(key, None) is None or self._closed:
                continue
            self._listed.discard(key)
            self._busy[key] = time.monotonic()
            self._measure()
            try:
                await self._handle(key)
            finally:
                del self._busy[key]
                if not self._busy:
                    self._idle.set()
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    async def _handle(self, key: Key) -> None:
        """Work on one key; an error brings it back later, whatever it was."""
        started = time.monotonic()
        try:
            wait = await self.work(key)
        except Conflict:
            metrics.reconciles.labels("conflict").inc()
            self.add_later(key, _FIRST_BACKOFF)
        except NotFound:
            metrics.reconciles.labels("gone").inc()
            self.add_later(key, _FIRST_BACKOFF)
        except KubeError as error:
            self._failed(key, str(error), error.retry_after)
        except Exception as error:
            logs.LOGGER.exception("reconciliation failed", extra={"fields": {"namespace": key[0], "name": key[1]}})
            self._failed(key, type(error).__name__, None)
        else:
            metrics.reconciles.labels("done").inc()
            self.forget(key)  # what an earlier pass planned, this one has planned anew
            if wait is not None:
                self.add_later(key, wait.total_seconds())
        metrics.reconcile_seconds.observe(time.monotonic() - started)

    def _failed(self, key: Key, error: str, retry_after: float | None) -> None:
        """Try again, later each time."""
        times = self._errors[key] = self._errors.get(key, 0) + 1
        delay = max(retry_after or 0.0, min(_FIRST_BACKOFF * 2 ** min(times, 10), _LAST_BACKOFF))
        metrics.reconciles.labels("error").inc()
        logs.warning("reconciliation put off", namespace=key[0], name=key[1], error=error, retry_seconds=delay)
        self.add_later(key, delay)


def _age(since: dict[Key, float]) -> float:
    """Return the age of the oldest entry in seconds; 0 for none."""
    return time.monotonic() - next(iter(since.values())) if since else 0.0
