"""What a session store does for a host: the SDK's protocol, what is needed beyond it, and its errors.

RunnerError
└── StoreError           the store cannot do what was asked
    ├── StoreUnreachable no answer, or none that holds: passing, worth another try
    ├── StoreRefused     no: credentials, rights, settings, a key; another try cannot help
    └── StoreFenced      a later pod has the conversation; another try must not help
"""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path

from claude_agent_sdk import SessionKey, SessionListSubkeysKey, SessionStore, SessionStoreEntry, SessionStoreListEntry

from agentrunner.errors import RunnerError

TIMEOUT_SECONDS = 10.0
"""Bound of one call to a server; what moves much data gets a second more for each MiB."""


class StoreError(RunnerError):
    """The store cannot do what was asked; `reason` never holds an address, a password or an entry."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StoreUnreachable(StoreError):
    """The store gave no answer, or one that passes, for example while it starts."""


class StoreRefused(StoreError):
    """The store says no for a reason that stays: credentials, rights, settings, or a key that cannot be one."""


class StoreFenced(StoreError):
    """Another pod has claimed the conversation since; `epoch` is the number of its claim."""

    def __init__(self, epoch: int) -> None:
        super().__init__("a later pod of the session has the conversation")
        self.epoch = epoch


@dataclass(frozen=True, slots=True)
class StoreContext:
    """What the factory of a custom store is given.

    All that it writes has to be under `prefix`; `secrets` is a directory with a file for each key of the Secret, and
    may be missing.
    """

    prefix: str
    secrets: Path


class Store(SessionStore):
    """A session store. Entries come back as they were given; what one call adds stays together, whoever else writes.

    Every method raises StoreError. None retries: who calls knows whether it may wait. `lacking` names methods of the
    SDK's protocol that the store does not have; they raise StoreRefused.
    """

    lacking: frozenset[str] = frozenset()
    list_session_summaries = SessionStore.list_session_summaries  # not there, as far as the SDK is concerned

    @abstractmethod
    async def claim(self, key: SessionListSubkeysKey, epoch: int) -> None:
        """Have the session be this object's to write, as number `epoch`; StoreFenced if a later one has claimed it.

        From then on no write of an earlier epoch is ever read, and the write, or the `count` after it, raises
        StoreFenced. Sessions that nobody claims are anybody's to write.
        """

    @abstractmethod
    def release(self, key: SessionListSubkeysKey) -> None:
        """Forget this object's own claim; the store itself remembers who claimed last."""

    @abstractmethod
    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Add entries at the end: all of them or, after an error, none or all."""

    @abstractmethod
    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """Return all entries under exactly this key; None if there are none."""

    @abstractmethod
    async def count(self, key: SessionKey) -> int:
        """Return how many entries there are under exactly this key, without reading them."""

    @abstractmethod
    async def replace(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Have the key hold exactly these entries; a crash leaves the old ones or the new ones."""

    @abstractmethod
    async def size(self, key: SessionKey) -> int:
        """Return the bytes of the entries of a session, those of its subkeys with them."""

    @abstractmethod
    async def list_projects(self) -> list[str]:
        """Return the project keys that have sessions."""

    @abstractmethod
    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """Return the sessions of a project with the time of their last change, in milliseconds since 1970."""

    @abstractmethod
    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """Return the subpaths of a session."""

    @abstractmethod
    async def delete(self, key: SessionKey) -> None:
        """Remove a subkey, or a session with all its subkeys; no harm if there is none."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections; the store is not used again."""
