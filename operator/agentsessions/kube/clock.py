"""Another machine's clock, learned from the `Date` of its answers.

Times that were stamped there have to be compared with the time there: ours may be set wrong, and may be set at any
moment. What measures how much time has gone by (the monotonic clock) is not set, so that one answer is enough to know
the time there from then on.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

_RESOLUTION = 1.0
"""Seconds; a `Date` has whole ones, and the time is up to one later than it says."""


@dataclass
class LearnedClock:
    """The time there, in seconds since 1970; our own (`wall`) until an answer has told.

    Each answer says within which bounds the time there was. What is within them stays as it is, so that a slow answer
    changes nothing, and ours is taken for theirs while the two agree.
    """

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    _ahead: float | None = None
    """How far the time there is ahead of our monotonic clock, in seconds."""

    def now(self) -> float:
        """Return the time there."""
        return self.wall() if self._ahead is None else self.steady() + self._ahead

    def learn(self, date: str | None, since: float) -> None:
        """Take note of the `Date` of an answer to what was sent at `since` (monotonic); what is none is let pass."""
        if (told := stamp(date)) is None:
            return
        now = self.steady()
        guess = self.now() - now
        self._ahead = max(told - now, min(guess, told + _RESOLUTION - since))


def stamp(date: str | None) -> float | None:
    """Return a `Date` in seconds since 1970, None for what is none."""
    try:
        return parsedate_to_datetime(date or "").timestamp()
    except (ValueError, OverflowError):
        return None
