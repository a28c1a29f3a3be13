"""The last events of a session, numbered, so that a client that was cut off can go on where it was.

Bounded by number and by bytes. Readers keep their own place: a slow one falls off the end, and never holds up a turn.
"""

import asyncio
import json
from collections import deque
from dataclasses import dataclass
from typing import Any

from agentrunner.waiting import within

MAX_EVENTS = 2000
MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its number, its kind (message, done, error), its JSON, and the turn that it belongs to."""

    number: int
    kind: str
    data: str
    turn: int


class EventsLost(Exception):
    """What the reader wants next is not kept any more."""


class EventLog:
    """Events of one incarnation of a session; the first has number 1."""

    def __init__(self, incarnation: str, *, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> None:
        self.incarnation = incarnation
        self._max_events, self._max_bytes = max_events, max_bytes
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._last = 0
        self._news = asyncio.Event()
        self._closed = False

    @property
    def last(self) -> int:
        """Number of the newest event; 0 if there is none."""
        return self._last

    @property
    def oldest(self) -> int:
        """Number of the oldest event that is kept; one more than the newest if none is."""
        return self._events[0].number if self._events else self._last + 1

    def id_of(self, number: int) -> str:
        """Return the id by which clients know an event."""
        return f"{self.incarnation}-{number}"

    def number_of(self, event_id: str) -> int:
        """Return the number in an event's id; raises EventsLost for one of another incarnation, or of none."""
        incarnation, _, number = event_id.rpartition("-")
        if incarnation != self.incarnation or not number.isdecimal() or int(number) > self._last:
            raise EventsLost
        return int(number)

    def append(self, kind: str, data: Any, turn: int) -> Event:
        """Add an event and wake the readers."""
        self._last += 1
        event = Event(self._last, kind, json.dumps(data, ensure_ascii=False, default=str), turn)
        self._events.append(event)
        self._bytes += len(event.data)
        # The newest stays, however large it is.
        while len(self._events) > 1 and (len(self._events) > self._max_events or self._bytes > self._max_bytes):
            self._bytes -= len(self._events.popleft().data)
        self._wake()
        return event

    def close(self) -> None:
        """Say that nothing more will come."""
        self._closed = True
        self._wake()

    def after(self, number: int) -> list[Event]:
        """Return the events after `number`; raises EventsLost if some of them are not kept any more."""
        if number + 1 < self.oldest:
            raise EventsLost
        return [event for event in self._events if event.number > number]

    async def wait(self, number: int, seconds: float) -> bool:
        """Wait for an event after `number`, at most `seconds`; return False if there will never be one."""
        if self._last > number or self._closed:
            return self._last > number
        if not await within(seconds, self._news.wait()):
            return True
        return self._last > number or not self._closed

    def _wake(self) -> None:
        """Wake all that wait now; later ones wait for the next event."""
        self._news.set()
        self._news = asyncio.Event()
        if self._closed:
            self._news.set()
