"""Clocks that are off by five minutes between the control plane and a host; the host's side is the real one."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentrunner.serving.routes import guard, problems
from agentrunner.serving.tokens import Verifier
from agentsessions.api.host import Activation, Scope
from agentsessions.hosts.client import HostAddress, HostClient
from agentsessions.hosts.clocks import HostClocks
from agentsessions.hosts.errors import Refused, Unreachable
from agentsessions.hosts.streams import HostStreams
from agentsessions.hosts.tokens import Signer
from unit.hosts.fakehost import KEYS, FakeHost, until
from unit.make import UID

GIVEN = Activation.model_validate({"version": 1, "session_id": UID, "namespace": "team-a", "name": "talk"})
OFF = [300.0, -300.0]


@dataclass
class Pair:
    """A host with the right time, and a control plane whose clocks can be set."""

    host: FakeHost = field(default_factory=FakeHost)
    refused: list[str] = field(default_factory=list)
    wall: float = 0.0
    """How far our wall clock is off, in seconds."""
    lost: float = 0.0
    """By how much our monotonic clock is behind: the host's clock was set by so much since."""

    def __post_init__(self) -> None:
        self.clocks = HostClocks(lambda: time.time() + self.wall, lambda: time.monotonic() - self.lost)

    @property
    def signer(self) -> Signer:
        return self.client._signer

    @asynccontextmanager
    async def beside(self) -> AsyncIterator["Pair"]:
        """Serve the host with the guard of a real one."""
        app = web.Application(middlewares=[self._note, problems, guard(Verifier(KEYS.public_keys, self.host.uid))])
        app.add_routes(
            [
                web.put("/sessions/{id}", self.host._put),
                web.get("/sessions", self.host._list),
                web.get("/events", self.host._events),
            ]
        )
        server = TestServer(app)
        await server.start_server()
        self.host.address = HostAddress("chat-0", self.host.uid, "127.0.0.1", server.port or 0)
        try:
            async with aiohttp.ClientSession() as http:
                self.client = HostClient(http, Signer(KEYS, self.clocks))
                yield self
        finally:
            self.host.hang_up()
            await server.close()

    @web.middleware
    async def _note(self, request: web.Request, handler: object) -> web.StreamResponse:
        answer: web.StreamResponse = await handler(request)  # type: ignore[operator]
        self.refused += [f"{request.method} {request.path}"] if answer.status == 401 else []
        return answer


@pytest.mark.parametrize("off", OFF)
async def test_a_call_that_is_refused_for_its_time_is_made_once_more_and_no_other_is_refused(off: float) -> None:
    async with Pair(wall=off).beside() as pair:
        await pair.client.activate(pair.host.address, GIVEN)
        await pair.client.snapshot(pair.host.address)
        await pair.client.snapshot(pair.host.address)
    assert pair.host.given == [GIVEN], "it was handed over once"
    assert pair.refused == [f"PUT /sessions/{UID}"]


@pytest.mark.parametrize("off", OFF)
async def test_once_a_host_has_answered_our_clock_may_be_set(off: float) -> None:
    async with Pair().beside() as pair:
        await pair.client.snapshot(pair.host.address)
        pair.wall = off
        await pair.client.activate(pair.host.address, GIVEN)
    assert pair.refused == []


@pytest.mark.parametrize("off", OFF)
async def test_a_host_whose_clock_is_set_is_followed(off: float) -> None:
    async with Pair().beside() as pair:
        await pair.client.snapshot(pair.host.address)
        pair.lost = off
        await pair.client.activate(pair.host.address, GIVEN)
        await pair.client.snapshot(pair.host.address)
    assert pair.refused == [f"PUT /sessions/{UID}"]


@pytest.mark.parametrize("off", OFF)
async def test_a_host_is_followed_by_another_clock_than_its_own(off: float) -> None:
    async with Pair(wall=off).beside() as pair:
        streams = HostStreams(pair.client, Scope.HOST, first_backoff=0.01)
        streams.follow([pair.host.address])
        await until(lambda: (view := streams.host(pair.host.uid)) and view.connected)
        await streams.close()
    assert pair.refused == ["GET /events"]


async def test_a_call_that_is_refused_twice_is_not_made_a_third_time() -> None:
    async with Pair(wall=300).beside() as pair:
        pair.clocks.learn = lambda *_: None  # type: ignore[assignment,misc]
        with pytest.raises(Refused) as caught:
            await pair.client.snapshot(pair.host.address)
    assert (caught.value.status, pair.refused) == (401, ["GET /sessions"])


async def test_who_may_lead_no_more_does_not_try_again() -> None:
    async with Pair(wall=300).beside() as pair:
        asked: list[None] = []
        pair.client.may_change = lambda: not asked.append(None) and len(asked) == 1  # type: ignore[func-returns-value]
        with pytest.raises(Unreachable):
            await pair.client.activate(pair.host.address, GIVEN)
    assert (pair.host.given, len(asked)) == ([], 2)


@pytest.mark.parametrize("off", [1000.0, -1000.0, 1e9])
def test_a_clock_that_is_far_off_is_not_believed(off: float) -> None:
    clocks = HostClocks()
    clocks.learn("pod", formatdate(time.time() + off, usegmt=True), time.monotonic())
    assert clocks.now("pod") == pytest.approx(time.time(), abs=5)


def test_what_a_host_told_long_ago_is_believed_no_more_once_it_is_far_off() -> None:
    wall = [time.time()]
    clocks = HostClocks(lambda: wall[0])
    clocks.learn("pod", formatdate(wall[0] + 800, usegmt=True), time.monotonic())
    assert clocks.now("pod") == pytest.approx(wall[0] + 800, abs=5)
    wall[0] -= 3600
    assert clocks.now("pod") == wall[0]


def test_each_host_has_a_clock_of_its_own_and_their_number_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentsessions.hosts.clocks._REMEMBERED", 2)
    clocks = HostClocks()
    for number, pod in enumerate(("a", "b", "c")):
        clocks.learn(pod, formatdate(time.time() + 100 * (number + 1), usegmt=True), time.monotonic())
    ahead = [round((clocks.now(pod) - time.time()) / 100) for pod in ("a", "b", "c")]
    assert ahead == [0, 2, 3]
