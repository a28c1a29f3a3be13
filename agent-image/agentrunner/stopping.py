"""Remembers that the pod was told to stop, from the first moment on.

The SDK takes a second or more to load. A SIGTERM in that time would end Python without a report, or, as process 1,
be lost.
"""

import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopFlag:
    """Set by the first signal to stop; the event loop takes the signals over once it runs."""

    def __init__(self) -> None:
        self.is_set = False
        for number in SIGNALS:
            signal.signal(number, self._note)

    def _note(self, _: int, __: FrameType | None) -> None:
        self.is_set = True
