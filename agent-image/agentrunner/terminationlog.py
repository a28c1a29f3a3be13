"""Writes the container's termination message in place: the file is a bind mount and cannot be replaced."""

import os
from pathlib import Path

DEFAULT_PATH = Path("/dev/termination-log")


class TerminationLog:
    """The termination message; a missing or read-only file is reported once by `write` and then left alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = b""

    def write(self, data: bytes) -> OSError | None:
        """Make `data` the whole message and return None, or the error when the file cannot be written."""
        if data == self._last:
            return None
        try:
            self._overwrite(data)
        except OSError as error:
            return error
        self._last = data
        return None

    def _overwrite(self, data: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            # Padded to the old length first: a kill between the two calls leaves JSON and spaces, never a torn mix.
            os.pwrite(descriptor, data.ljust(os.fstat(descriptor).st_size), 0)
            os.ftruncate(descriptor, len(data))
        finally:
            os.close(descriptor)
