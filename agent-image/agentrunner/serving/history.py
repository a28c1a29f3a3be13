"""How far a session's conversation goes: entries of the CLI's transcript, and the digest of the last."""

import shutil
from pathlib import Path

from agentrunner.keeping.files import uuids
from agentrunner.lines import Entry, Tail, digest
from agentsessions.api.status import Transcript


class History:
    """Reads a transcript as it grows, each byte once."""

    def __init__(self, path: Path) -> None:
        self._tail = Tail(path)
        self._entries = 0
        self._last: Entry | None = None
        self._broken = 0
        self._uuids = set[str]()

    @property
    def is_torn(self) -> bool:
        """Whether the transcript ends in the middle of a line, as far as was read."""
        return self._tail.half

    def turn_begins(self) -> None:
        """Read what there is, and take note that what is read from now on is of another turn."""
        self.facts()
        self._broken = self._tail.broken
        self._uuids.clear()

    def has_whole(self, message: str) -> bool:
        """Return whether nothing of a turn was lost for want of room, as far as was read; `message` began it.

        The CLI loses its lines without a word. Mostly half of one is left; where none is, there is no room even now.
        """
        if self.is_torn or self._tail.broken > self._broken:
            return False
        return message in self._uuids or _has_room(self._tail.path)

    def facts(self) -> Transcript | None:
        """Return how far the transcript goes now; None if there is none."""
        try:
            fresh, other = self._tail.take()
        except OSError:
            return None
        if other:
            self._entries, self._last = 0, None
        self._uuids.update(uuids(fresh))
        if fresh:
            self._entries, self._last = self._entries + len(fresh), fresh[-1]
        if self._last is None:
            return None
        return Transcript(entries=self._entries, last_entry_digest=digest(self._last))


def _has_room(path: Path) -> bool:
    """Return whether something could be written to that file."""
    try:
        return shutil.disk_usage(path.parent).free > 0
    except OSError:
        return True
