"""How far a session's conversation goes: entries of the CLI's transcript, and the digest of the last."""

from pathlib import Path

from agentrunner.lines import Entry, Tail, digest
from agentsessions.api.status import Transcript


class History:
    """Reads a transcript as it grows, each byte once."""

    def __init__(self, path: Path) -> None:
        self._tail = Tail(path)
        self._entries = 0
        self._last: Entry | None = None

    def facts(self) -> Transcript | None:
        """Return how far the transcript goes now; None if there is none."""
        try:
            fresh, other = self._tail.take()
        except OSError:
            return None
        if other:
            self._entries, self._last = 0, None
        if fresh:
            self._entries, self._last = self._entries + len(fresh), fresh[-1]
        if self._last is None:
            return None
        return Transcript(entries=self._entries, last_entry_digest=digest(self._last))
