"""Room on a session's volume that is held back: a volume that its agent has filled can be cleared by that agent.

Without it nothing could be written down of the message that asks for that, nor of what comes of it.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

BYTES = 1024 * 1024
"""Enough for what host and CLI write in some turns; small beside any volume, on which many sessions may be."""


class Reserve:
    """A file that holds nothing but its room."""

    def __init__(self, path: Path, size: int = BYTES) -> None:
        self._path = path
        self._size = size

    def keep(self) -> None:
        """Hold the room, if there is so much; what is left of less is for others."""
        if self._path.exists():
            return
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
        except OSError:
            self.spend()

    def make_room(self) -> None:
        """Give the room to a turn that begins where there is less: the host's notes may fit where the CLI's do not."""
        with suppress(OSError):
            if shutil.disk_usage(self._path.parent).free < self._size:
                self.spend()

    def spend(self) -> None:
        """Give the room to who writes next."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
