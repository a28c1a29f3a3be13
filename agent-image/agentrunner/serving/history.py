"""How far a session's conversation goes: entries of the CLI's transcript, and the digest of the last."""

from hashlib import sha256
from pathlib import Path

from agentsessions.api.status import Transcript


class History:
    """Reads a transcript as it grows, each byte once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        self._entries = 0
        self._last = b""

    def facts(self) -> Transcript | None:
        """Return how far the transcript goes now; None if there is none."""
        try:
            with self.path.open("rb") as file:
                self._take(file.seek(0, 2), file)
        except OSError:
            return None
        if not self._entries:
            return None
        return Transcript(entries=self._entries, last_entry_digest=f"sha256:{sha256(self._last).hexdigest()}")

    def _take(self, size: int, file) -> None:  # type: ignore[no-untyped-def]
        """Read what was added; a file that is shorter than before is another one."""
        if size < self._read:
            self._read, self._entries, self._last = 0, 0, b""
        file.seek(self._read)
        for line in file:
            if not line.endswith(b"\n"):
                return  # still being written
            self._read += len(line)
            self._entries += 1
            self._last = line.rstrip(b"\n")
