"""What the SDK is given as its session store: it only tells what was written."""

from collections.abc import Callable, Iterable

from claude_agent_sdk import SessionKey, SessionStore, SessionStoreEntry

from agentrunner.keeping.files import as_entries
from agentrunner.lines import Entry


class Signal(SessionStore):
    """What the SDK takes for a session store: it has nothing, so that the CLI resumes from its own directory."""

    def __init__(self, heard: Callable[[SessionKey, Iterable[Entry]], None]) -> None:
        self._heard = heard

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Take note of what was written."""
        self._heard(key, as_entries(entries))

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """Return nothing."""
        return None
