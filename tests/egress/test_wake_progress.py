"""What Envoy does with a request whose client wants to be told how its session wakes."""

import asyncio
import io

import aiohttp
import pytest

from egress import gateway
from egress.gateway import TURN

WISH = {"Authorization": "Bearer app", "X-Agentsessions-Progress": "stream"}


@pytest.mark.requirement("H12")
async def test_a_client_that_waits_is_told_and_then_gets_its_turn(
    monkeypatch: pytest.MonkeyPatch, http: aiohttp.ClientSession
) -> None:
    async with (
        gateway.running(monkeypatch) as running,
        http.post(f"{running.url}/messages", json={"prompt": "x"}, headers=WISH) as answer,
    ):
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert b"Asleep" in await answer.content.readuntil(b"\n\n")
        running.stand("Waking", "Pod 'one-1' is starting.")
        while b"Waking" not in (event := await answer.content.readuntil(b"\n\n")):
            assert event == b": heartbeat\n\n"
        assert running.got == []
        running.stand("Running")
        assert (await answer.read()).endswith(TURN)
        (request,) = running.got
        assert request.path == "/sessions/-/messages"
        assert running.bodies == [b'{"prompt": "x"}']
        names = {name.lower() for name in request.headers}
        assert not {"authorization", "x-agentsessions-progress"} & names
        assert len(request.headers.getall("X-Agentsessions-Token")) == 1


async def test_a_ticket_that_a_client_sends_goes_nowhere(
    monkeypatch: pytest.MonkeyPatch, http: aiohttp.ClientSession
) -> None:
    """Also not to the relay: what the directory says takes the place of what the client wrote."""
    async with gateway.running(monkeypatch) as running:
        forged = WISH | {"X-Agentsessions-Token": "forged", "x-dst": "127.0.0.1:1"}
        for more in ({}, {"Connection": "x-agentsessions-token, x-dst"}):
            running.stand("Asleep")
            async with http.post(f"{running.url}/messages", json={}, headers=forged | more) as answer:
                assert answer.status == 200
                await answer.content.readuntil(b"\n\n")
                running.stand("Running")
                assert (await answer.read()).endswith(TURN)
            async with http.get(f"{running.url}/events", headers=forged | more) as answer:
                assert await answer.read() == TURN, "a session that is there is reached without the relay"
        assert len(running.got) == 4
        for request in running.got:
            assert "forged" not in request.headers.getall("X-Agentsessions-Token")


async def test_a_client_that_does_not_ask_is_held_as_ever(
    monkeypatch: pytest.MonkeyPatch, http: aiohttp.ClientSession
) -> None:
    async with gateway.running(monkeypatch) as running:
        headers = {"Authorization": "Bearer app"}

        async def asked() -> bytes:
            async with http.post(f"{running.url}/messages", json={}, headers=headers) as answer:
                assert answer.headers["X-Agentsessions-Session"] == "resumed"
                return await answer.read()

        waiting = asyncio.create_task(asked())
        await asyncio.sleep(0.3)
        assert not waiting.done()
        running.stand("Running")
        assert await waiting == TURN


async def test_a_client_that_leaves_while_it_waits_has_sent_nothing(
    monkeypatch: pytest.MonkeyPatch, http: aiohttp.ClientSession
) -> None:
    async with gateway.running(monkeypatch) as running:
        async with http.post(f"{running.url}/messages", json={}, headers=WISH) as answer:
            await answer.content.readuntil(b"\n\n")
            answer.close()
        await asyncio.sleep(1)
        running.stand("Running")
        await asyncio.sleep(0.5)
        assert running.got == []


async def test_a_large_message_is_told_of_its_session_too(
    monkeypatch: pytest.MonkeyPatch, http: aiohttp.ClientSession
) -> None:
    """It waits on its way, in bounded memory, and nobody waits for it to be sent before there is something to read."""
    body = b"x" * (10 * 2**20)
    async with (
        gateway.running(monkeypatch) as running,
        http.post(f"{running.url}/messages", data=io.BytesIO(body), headers=WISH) as answer,
    ):
        assert b"Asleep" in await answer.content.readuntil(b"\n\n")
        running.stand("Running")
        assert (await answer.read()).endswith(TURN)
        assert [len(one) for one in running.bodies] == [len(body)]
