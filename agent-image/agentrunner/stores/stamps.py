"""Times that only grow."""

import time
from collections.abc import Callable


class Stamps:
    """Hands out the time since 1970 in units of `unit` nanoseconds: never one twice, and later than all it has seen.

    So what follows a record has a later stamp than it, also when another machine's clock made that one.
    """

    def __init__(self, unit: int, clock: Callable[[], int] = time.time_ns) -> None:
        self._unit = unit
        self._clock = clock
        self._last = 0

    def next(self) -> int:
        """Return the time."""
        self._last = max(self._clock() // self._unit, self._last + 1)
        return self._last

    def seen(self, stamp: int) -> None:
        """Take note of a stamp in a record."""
        self._last = max(self._last, stamp)
