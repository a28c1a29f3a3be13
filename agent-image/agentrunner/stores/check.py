"""Checks a session store: the SDK's contracts and ours, under a throw-away prefix, and nothing stays."""

import linecache
import re
import secrets
from collections.abc import Callable
from contextlib import suppress

from claude_agent_sdk import SessionKey, SessionStoreEntry
from claude_agent_sdk.testing import run_session_store_conformance, session_store_conformance

from agentrunner.errors import InvalidInput
from agentrunner.stores.adapting import AdaptedStore
from agentrunner.stores.base import Store, StoreError
from agentrunner.stores.contracts import CONTRACTS, Broken, Contract, Make, answers
from agentrunner.stores.opening import open_store
from agentsessions.api.host import StoreSettings

_HEADING = re.compile(r"# (\d+)\. (.+)")


class _Noted(AdaptedStore):
    """A store that notes which sessions it was given."""

    def __init__(self, store: Store, prefix: str) -> None:
        super().__init__(store, prefix)
        self.lacking = store.lacking
        self.sessions: set[tuple[str, str]] = set()

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        self.sessions.add((key["project_key"], key["session_id"]))
        await super().append(key, entries)

    async def replace(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        self.sessions.add((key["project_key"], key["session_id"]))
        await super().replace(key, entries)


class _Workshop:
    """Opens stores below a prefix of their own, and clears up."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings.model_copy(update={"prefix": f"{settings.prefix}/check-{secrets.token_hex(6)}"})
        self._stores: list[_Noted] = []

    def make(self, name: str) -> Store:
        """Open a store; raise InvalidInput for settings that cannot be used."""
        prefix = f"{self._settings.prefix}/{name}"
        store = _Noted(open_store(self._settings.model_copy(update={"prefix": prefix})), prefix)
        self._stores.append(store)
        return store

    async def clear(self) -> None:
        """Delete what was made, and close; what cannot be deleted stays."""
        for store in self._stores:
            for project_key, session_id in store.sessions:
                with suppress(StoreError):
                    await store.delete({"project_key": project_key, "session_id": session_id})
            with suppress(StoreError):
                await store.close()


async def check(settings: StoreSettings, say: Callable[[str], None]) -> bool:
    """Run all contracts, say a line for each, and return whether they hold. Raises InvalidInput."""
    workshop = _Workshop(settings)
    try:
        if not await _holds(answers, workshop.make, say):
            return False  # nothing else could work
        return all([await _holds(contract, workshop.make, say) for contract in (_sdk, *CONTRACTS)])
    finally:
        await workshop.clear()


async def _sdk(make: Make) -> None:
    """The contracts of the SDK's conformance suite."""
    numbers = iter(range(1000))
    lacking = make("sdk").lacking
    await run_session_store_conformance(lambda: make(f"sdk-{next(numbers)}"), skip_optional=lacking)


async def _holds(contract: Contract, make: Make, say: Callable[[str], None]) -> bool:
    name = (contract.__doc__ or "").rstrip(".")
    try:
        await contract(make)
    except InvalidInput:
        raise
    except Exception as error:
        say(f"FAILED  {name}: {_reason(error)}")
        return False
    say(f"ok      {name}")
    return True


def _reason(error: Exception) -> str:
    if isinstance(error, AssertionError):
        return _broken_by(error)
    # Texts of other errors may hold an address or a password.
    return str(error) if isinstance(error, StoreError | Broken) else type(error).__name__


def _broken_by(error: AssertionError) -> str:
    """Return the heading in the SDK's suite above the assertion that failed."""
    line, trace = 0, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == session_store_conformance.__file__:
            line = trace.tb_lineno
        trace = trace.tb_next
    for number in range(line, 0, -1):
        if found := _HEADING.search(linecache.getline(session_store_conformance.__file__, number)):
            return f"contract {found[1]} of the suite, {found[2]}"
    return "an assertion of the suite"
