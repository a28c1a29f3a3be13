"""A host whose clock is set by five minutes while it runs: who calls it learns of it from the host itself."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from agent.host import Host, events, texts
from agent.model import Model, script
from agentsessions.api.host import Activation, Scope
from agentsessions.directory import entry
from agentsessions.directory.delivery import host_client
from agentsessions.directory.entry import ClockReader, Entry
from agentsessions.directory.paths import parse
from agentsessions.directory.whereabouts import Place
from agentsessions.directory.world import PodView
from agentsessions.hosts.client import HostAddress, HostClient
from agentsessions.hosts.tokens import Signer
from agentsessions.kube.clock import stamp
from faults.clocks import environment, library

pytestmark = pytest.mark.timeout(180)


@dataclass
class Clock:
    """The clock of a host."""

    host: Host
    file: Path

    async def set(self, seconds: int) -> None:
        """Set it to be off by so much, and wait until the host goes by it."""
        self.file.write_text(f"{seconds:+}s")
        async with asyncio.timeout(30):
            while abs(await self._off() - seconds) > 5:  # noqa: ASYNC110 - the library looks now and then
                await asyncio.sleep(0.2)

    async def _off(self) -> float:
        assert self.host.http is not None
        async with self.host.http.get("/health") as answer:
            return (stamp(answer.headers["Date"]) or 0) - time.time()


@pytest.fixture
async def clock(tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clock]:
    """Return a host that runs, with the right time. The CLI, which does not start with the library, goes without it."""
    monkeypatch.setattr(entry, "_TIMEOUT", aiohttp.ClientTimeout(total=30))  # a busy machine is no silent host
    (folder := tmp_path / "host").mkdir()
    (start := tmp_path / "start").mkdir()
    (start / "sitecustomize.py").write_text('import os\n\ndel os.environ["LD_PRELOAD"]\n')
    file, host = tmp_path / "clock", Host(folder, model.url)
    host.environment |= environment(str(library()), str(file))
    host.environment["PYTHONPATH"] += f":{start}"
    await host.start()
    try:
        yield Clock(host, file)
    finally:
        await host.destroy()


@pytest.mark.requirement("K02")
@pytest.mark.parametrize("off", [300, -300])
async def test_a_host_whose_clock_is_set_takes_sessions_and_talks(
    clock: Clock, off: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, host = str(uuid4()), clock.host
    monkeypatch.setattr(entry, "PORT", host.port)
    address = HostAddress("chat-0", host.plane.pod_uid, "127.0.0.1", host.port)
    given = Activation.model_validate({"version": 1, "session_id": one, "namespace": "team", "name": "talk"})
    async with aiohttp.ClientSession() as http:
        operator = HostClient(http, Signer(host.plane.keys))
        await operator.activate(address, given)
        assert await _said(host, one, "first") == ["first"]
        await clock.set(off)
        assert str((await operator.activate(address, given)).session_id) == one
        assert (await operator.get(address, one)).usage.turns == 1
    assert await _said(host, one, "second") == ["second"]


async def _said(host: Host, one: str, text: str) -> list[str]:
    """Have something said, with a token of a gateway that has just begun; return what the agent says."""
    target = parse("POST", "/v1/namespaces/team/sessions/talk/messages", None)
    place = Place(one, PodView("chat-0", host.plane.pod_uid, "127.0.0.1", True, True, False, ""), Scope.SESSION)
    async with host_client() as http:
        signer = Signer(host.plane.keys)
        token = await Entry(signer, ClockReader(http, signer.clocks).ask).token(target, place)
    message = {"prompt": script({"text": text})}
    async with host.call("POST", f"/sessions/{one}/messages", token, json=message) as answer:
        assert answer.status == 200, await answer.text()
        return texts([event async for event in events(answer)])
