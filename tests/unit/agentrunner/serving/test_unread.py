"""A message that is interrupted before its agent is given it: in the next pod nobody says that something was cut."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agentrunner.events import EventLog
from agentrunner.keeping.backends import Keeping
from agentrunner.serving.cli import Cli
from agentrunner.serving.registry import Registry
from agentrunner.serving.settings import HostSettings
from agentsessions.api.host import Activation, HostDocument, SessionSettings
from unit.agentrunner.keeping.talks import SESSION, FakeStore, Fault

WANTED = Activation.model_validate({"version": 1, "session_id": SESSION, "namespace": "ns", "name": "n"})


class Idle:
    """A process that must not be asked for anything."""

    ended = overdue = starved = False
    pid = None

    async def close(self) -> None:
        """Nothing to close."""


def host(folder: Path, store: FakeStore) -> Registry:
    """Return a host in a pod of its own."""
    document = HostDocument(version=1, namespace="ns", pool="p", pool_uid="u", sessions_per_host=1)
    places = {name: folder / name for name in ("state", "workspace", "tmp", "home")}
    for place in places.values():
        place.mkdir(parents=True)
    settings = HostSettings(pod_uid="pod", public_keys="", port=0, grace_seconds=30, document=document, **places)
    return Registry(settings, EventLog(), lambda _: None, Keeping(store))


async def test_a_message_interrupted_while_it_is_announced_is_not_said_to_be_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connected(cli: Cli, settings: SessionSettings, starting: Callable[[], None]) -> Idle:
        cli.process = Idle()  # type: ignore[assignment]
        return cli.process  # type: ignore[return-value]

    monkeypatch.setattr(Cli, "connected", connected)
    store = FakeStore()
    for number in range(3):  # it stays so in the pods that follow and are told nothing new
        registry = host(tmp_path / str(number), store)
        session = await registry.activate(WANTED)
        assert (session.interrupted, session.turns.knows("key")) == (False, False)
        if number == 0:
            store.will("replace", Fault(seconds=0.2))
            turn = session.submit("x", "key", reject_when_busy=False)
            while not store.writes("replace"):  # noqa: ASYNC110 - the store is being told
                await asyncio.sleep(0.01)
            assert await session.interrupt()
            await turn.ended.wait()
            assert (turn.state, turn.asked) == ("done", False)
        await registry.close(1)
