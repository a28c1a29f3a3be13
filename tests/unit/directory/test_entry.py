"""Tokens for a host whose clock is not the gateway's; the host's side of it is the real one."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentrunner.serving.problems import Problem
from agentrunner.serving.tokens import Verifier
from agentsessions.api.host import Scope
from agentsessions.directory import entry
from agentsessions.directory.delivery import host_client
from agentsessions.directory.entry import ClockReader, Entry
from agentsessions.directory.paths import parse
from agentsessions.directory.whereabouts import Place
from agentsessions.hosts.clocks import HostClocks
from agentsessions.hosts.keys import key_ring, new_key
from agentsessions.hosts.tokens import Signer
from unit.directory.stage import AT, POD_UID, UID, pod

PATIENT = aiohttp.ClientTimeout(total=30)
"""A machine that does much else is no host that does not answer."""
TARGET = parse("GET", AT, None)
PLACE = Place(UID, pod(ip="127.0.0.1"), Scope.SESSION)


@asynccontextmanager
async def listening(port: int = 0) -> AsyncIterator[tuple[int, list[str]]]:
    """Have a host that answers; return its port and what it was asked."""
    asked = list[str]()

    async def health(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response()

    app = web.Application()
    app.router.add_get("/health", health)
    server = TestServer(app, port=port)
    await server.start_server()
    yield server.port or 0, asked
    await server.close()


@pytest.mark.parametrize("off", [300.0, -300.0])
async def test_a_token_is_on_time_at_the_host_whatever_the_gateways_clock_says(
    off: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = key_ring(new_key())
    signer = Signer(keys, HostClocks(lambda: time.time() + off))
    verifier = Verifier(keys.public_keys, POD_UID)
    with pytest.raises(Problem):
        verifier.caller(signer.token(POD_UID, Scope.SESSION, UID))
    async with listening() as (port, asked), host_client() as http:
        monkeypatch.setattr(entry, "PORT", port)
        monkeypatch.setattr(entry, "_TIMEOUT", PATIENT)
        way_in = Entry(signer, ClockReader(http, signer.clocks).ask)
        for _ in range(3):
            assert verifier.caller(await way_in.token(TARGET, PLACE)).session_id == UID
    assert asked == ["/health"], "it is asked now and then, not for each request"


async def test_a_host_that_does_not_listen_yet_is_asked_again_soon(
    monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setattr(entry, "PORT", unused_tcp_port)
    monkeypatch.setattr(entry, "_FAILED", 0.0)
    monkeypatch.setattr(entry, "_TIMEOUT", PATIENT)
    keys = key_ring(new_key())
    signer = Signer(keys, HostClocks(lambda: time.time() + 300))
    verifier = Verifier(keys.public_keys, POD_UID)
    async with host_client() as http:
        way_in = Entry(signer, ClockReader(http, signer.clocks).ask)
        with pytest.raises(Problem):
            verifier.caller(await way_in.token(TARGET, PLACE))
        async with listening(unused_tcp_port):
            assert verifier.caller(await way_in.token(TARGET, PLACE)).scope is Scope.SESSION
