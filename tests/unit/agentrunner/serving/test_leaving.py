"""The workspace of a session that its host lets go of: archived once, if anybody wants it, and then gone."""

import asyncio
import json
from collections.abc import Awaitable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from agentrunner.events import EventLog
from agentrunner.keeping.backends import Keeping
from agentrunner.serving.app import HostRoutes
from agentrunner.serving.conversation import Conversation
from agentrunner.serving.news import News
from agentrunner.serving.registry import Registry
from agentrunner.serving.routes import CALLER
from agentrunner.serving.settings import HostSettings
from agentrunner.serving.tokens import Caller
from agentsessions.api.host import HostDocument, Scope, SessionSettings

SESSION = "11111111-1111-4111-8111-111111111111"


class Vault:
    """An archive that takes as long as the test says, and remembers what it saw."""

    def __init__(self) -> None:
        self.saw: list[list[str]] = []
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()

    async def restore(self, session_id: str, trees: Any, marks: Path) -> None:
        """Have nothing."""

    async def save(self, session_id: str, trees: Any, marks: Path) -> Any:
        """Look at the workspace, and take a while."""
        self.begun.set()
        await self.may_end.wait()
        self.saw.append(sorted(path.name for path in self.workspace.iterdir()))

        class Saved:
            generation, bytes, sha256, unchanged = 1, 1, "abc", True

        return Saved

    workspace: Path

    async def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def vault() -> Vault:
    """An archive."""
    return Vault()


@pytest.fixture
async def registry(tmp_path: Path, vault: Vault) -> Registry:
    """A host with one session, which has a file."""
    document = HostDocument(
        version=1, namespace="ns", pool="p", pool_uid="u", sessions_per_host=1, implicit=SessionSettings()
    )
    places = {name: tmp_path / name for name in ("state", "workspace", "tmp", "home")}
    for place in places.values():
        place.mkdir()
    host = HostSettings(pod_uid="pod", public_keys="", port=0, grace_seconds=30, document=document, **places)
    out = Registry(host, EventLog(), lambda _: None, Keeping(None, vault))  # type: ignore[arg-type]
    made = await out.find(SESSION, Caller(Scope.IMPLICIT, SESSION, "ns", "one"))
    vault.workspace = made.places.workspace
    (vault.workspace / "file").write_text("work")
    return out


async def test_a_host_that_stops_waits_for_the_archive_of_one_that_is_being_removed(
    registry: Registry, vault: Vault
) -> None:
    removal = registry.removal(SESSION, "delete", archive=True)
    await vault.begun.wait()
    stopping = asyncio.create_task(registry.close(5))
    await asyncio.sleep(0.05)
    assert not stopping.done()
    vault.may_end.set()
    await asyncio.gather(removal, stopping)
    assert vault.saw == [["file"]]
    assert not vault.workspace.exists()


async def test_one_that_is_removed_while_its_host_stops_is_archived_once_and_its_files_stay_until_then(
    registry: Registry, vault: Vault
) -> None:
    stopping = asyncio.create_task(registry.close(5))
    await vault.begun.wait()
    removal = registry.removal(SESSION, "delete", archive=True)
    await asyncio.sleep(0.05)
    vault.may_end.set()
    await asyncio.gather(removal, stopping)
    assert vault.saw == [["file"]]
    assert not vault.workspace.exists()


async def test_what_nobody_wants_to_keep_is_not_archived(registry: Registry, vault: Vault) -> None:
    await registry.remove(SESSION, "delete")
    assert not vault.begun.is_set()
    assert not vault.workspace.exists()


def deletion(registry: Registry, query: str) -> Awaitable[web.StreamResponse]:
    """Have the control plane take the session from the host."""
    request = make_mocked_request("DELETE", f"/sessions/{SESSION}?{query}", match_info={"id": SESSION})
    request[CALLER] = Caller(Scope.HOST)
    return HostRoutes(registry, News()).delete(request)


async def test_who_asks_for_an_archive_does_not_wait_for_it_and_who_asks_again_asks_for_the_same(
    registry: Registry, vault: Vault
) -> None:
    for _ in range(3):
        answer = await asyncio.wait_for(deletion(registry, "files=delete&archive=true"), 1)
        assert answer.status == 202
        await vault.begun.wait()
        assert vault.workspace.exists()
    vault.may_end.set()
    await registry.close(5)
    assert vault.saw == [["file"]]
    assert not vault.workspace.exists()
    assert (await deletion(registry, "files=delete&archive=true")).status == 202, "one that is not here is no error"


def taking_along(registry: Registry) -> Conversation:
    """Return the session, which takes along what is stored of it."""
    session = registry.get(SESSION)
    assert session is not None
    session.on_delete = "Delete"
    return session


async def test_the_workspace_of_one_that_takes_along_what_is_stored_is_not_archived(
    registry: Registry, vault: Vault
) -> None:
    taking_along(registry)
    assert (await deletion(registry, "files=delete&archive=true")).status == 202
    await registry.close(5)
    assert not vault.begun.is_set()
    assert not vault.workspace.exists()


async def test_one_that_takes_along_what_is_stored_is_not_put_away_to_the_end(registry: Registry, vault: Vault) -> None:
    session = taking_along(registry)
    session.put_away(patient=True)
    await vault.begun.wait()
    await asyncio.wait_for(registry.removal(SESSION, "delete", archive=True), 5)
    assert vault.saw == []
    assert not vault.workspace.exists()


async def test_one_that_takes_along_what_is_stored_is_archived_like_any_other_when_its_host_stops(
    registry: Registry, vault: Vault
) -> None:
    taking_along(registry)
    vault.may_end.set()
    await registry.close(5)
    assert vault.saw == [["file"]]


async def test_who_asks_for_no_archive_knows_when_it_is_gone(registry: Registry, vault: Vault) -> None:
    assert (await deletion(registry, "files=delete")).status == 204
    assert not vault.workspace.exists()


async def test_who_asks_and_goes_away_changes_nothing(registry: Registry, vault: Vault) -> None:
    asking = asyncio.create_task(registry.remove(SESSION, "delete"))
    await asyncio.sleep(0)
    asking.cancel()
    await registry.close(5)
    assert not vault.workspace.exists()


async def test_an_archive_that_breaks_keeps_no_files_back(
    registry: Registry, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(vault, "save", broken)
    await registry.removal(SESSION, "delete", archive=True)
    assert not vault.workspace.exists()
    assert registry.conversations == []


async def test_a_removal_that_fails_is_told_of_and_leaves_no_files(
    registry: Registry, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ValueError("a secret")

    session = registry.get(SESSION)
    assert session is not None
    monkeypatch.setattr(session, "close", broken)
    monkeypatch.setattr(registry, "_log", EventLog(stream=(out := StringIO())))
    assert (await deletion(registry, "files=delete&archive=true")).status == 202
    await registry.close(5)
    (line,) = [json.loads(line) for line in out.getvalue().splitlines() if "removalFailed" in line]
    assert (line["sessionId"], line["error"], "secret" in str(line)) == (SESSION, "ValueError", False)
    assert not vault.workspace.exists()
    assert registry.conversations == []
