"""Remembers that the pod was told to stop, from the first moment on.

The SDK takes a second to load, and half a minute where many pods start at a time. A SIGTERM in that time would end
Python without a report.
"""

import os
import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopFlag:
    """Set by the first signal to stop; the event loop takes the signals over once it runs."""

    def __init__(self) -> None:
        self.is_set = False
        self._at_once = False
        for number in SIGNALS:
            signal.signal(number, self._note)

    def leave_at_once(self) -> None:
        """Let a signal end the process, with code 0: there is nothing to report or to put away yet."""
        self._at_once = True
        if self.is_set:
            os._exit(0)

    def _note(self, _: int, __: FrameType | None) -> None:
        if self._at_once:
            os._exit(0)
        self.is_set = True
