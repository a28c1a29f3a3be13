"""Whoever called this process: work that is done ahead of what waits for it ends with its caller."""

import ctypes
import signal
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""


def end_with_caller() -> None:
    """Be told to stop when whoever started this process has ended, in whatever way. Where there is no Linux: not."""
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
