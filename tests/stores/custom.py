"""Custom stores as users might write them: good ones, and ones that break a promise."""

import copy
from collections import defaultdict

from claude_agent_sdk import InMemorySessionStore, SessionKey, SessionStoreEntry

from agentrunner.stores.base import StoreContext

_MEMORY: defaultdict[str, InMemorySessionStore] = defaultdict(InMemorySessionStore)


class Smallest:
    """Nothing but what the SDK asks for."""

    def __init__(self) -> None:
        self.kept: dict[str, list[SessionStoreEntry]] = {}

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Keep."""
        self.kept.setdefault(repr(sorted(key.items())), []).extend(copy.deepcopy(entries))

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """Return."""
        return self.kept.get(repr(sorted(key.items())))


class Forgetful(InMemorySessionStore):
    """Loses the last entry of every call that brings more than one."""

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Keep, but not all."""
        await super().append(key, entries[:-1] if len(entries) > 1 else entries)


class Talkative(InMemorySessionStore):
    """Fails with its password in the error."""

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """Fail."""
        raise RuntimeError("cannot reach https://user:hunter2@store")


_FORGETFUL: defaultdict[str, Forgetful] = defaultdict(Forgetful)


def shared_memory(context: StoreContext) -> InMemorySessionStore:
    """Return the memory of a prefix, the same for each who asks."""
    return _MEMORY[context.prefix]


def lonely_memory(context: StoreContext) -> InMemorySessionStore:
    """Return a memory that nobody else sees."""
    return InMemorySessionStore()


def prefixless_memory(context: StoreContext) -> InMemorySessionStore:
    """Return the same memory for all prefixes."""
    return _MEMORY[""]


def forgetful(context: StoreContext) -> Forgetful:
    """Return a store that loses entries."""
    return _FORGETFUL[context.prefix]


def smallest(context: StoreContext) -> Smallest:
    """Return a store with nothing optional."""
    return Smallest()


def talkative(context: StoreContext) -> Talkative:
    """Return a store whose errors tell secrets."""
    return Talkative()


def failing(context: StoreContext) -> InMemorySessionStore:
    """Fail with what was read from the Secret."""
    raise ValueError((context.secrets / "password").read_text())


def useless(context: StoreContext) -> object:
    """Return what is no store."""
    return object()


no_factory = "a text"
