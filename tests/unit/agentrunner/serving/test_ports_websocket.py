"""What agents serve, passed on over a real WebSocket: frames, subprotocols, and the words of a close."""

import asyncio

import aiohttp
import pytest
from aiohttp import web

from unit.agentrunner.serving.served import PREFIX, Agent, Handler


@pytest.mark.requirement("H11")
async def test_frames_pass_both_ways(agent: Agent) -> None:
    await agent.serves(socket_echo())
    async with agent.client.ws_connect(f"{agent.url}{PREFIX}/s?x=1", max_msg_size=0) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
        await socket.send_bytes(b"\x00\xff")
        assert await socket.receive_bytes() == b"\x00\xff"
        await socket.send_str("x" * 5_000_000)
        assert len(await socket.receive_str()) == 5_000_000
    assert agent.seen[0].path_qs == "/s?x=1"


async def test_the_subprotocol_is_the_agents_choice(agent: Agent) -> None:
    await agent.serves(socket_echo())
    async with agent.client.ws_connect(f"{agent.url}{PREFIX}/", protocols=("a", "b")) as socket:
        assert socket.protocol == "a"
    async with agent.client.ws_connect(f"{agent.url}{PREFIX}/") as socket:
        assert socket.protocol is None


async def test_a_close_of_the_agent_reaches_the_client_in_its_words(agent: Agent) -> None:
    await agent.serves(socket_echo())
    async with agent.client.ws_connect(f"{agent.url}{PREFIX}/") as socket:
        await socket.send_str("bye")
        frame = await socket.receive()
    assert (frame.type, frame.data, frame.extra) == (aiohttp.WSMsgType.CLOSE, 4002, "as you wish")


@pytest.mark.parametrize(("sent", "told"), [(4001, 4001), (1000, 1000)])
async def test_a_close_of_the_client_reaches_the_agent(agent: Agent, sent: int, told: int) -> None:
    closed: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
    await agent.serves(socket_echo(closed))
    async with agent.client.ws_connect(f"{agent.url}{PREFIX}/") as socket:
        await socket.send_str("hello")
        await socket.receive()
        await socket.close(code=sent)
    assert await asyncio.wait_for(closed, 30) == told


async def test_an_agent_that_dies_closes_thesocket_echo(agent: Agent) -> None:
    async def dies(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        assert request.transport is not None
        request.transport.abort()
        return socket

    await agent.serves(dies)
    async with agent.client.ws_connect(f"{agent.url}{PREFIX}/") as socket:
        await socket.send_str("hello")
        frame = await socket.receive()
    assert (frame.type, frame.data) == (aiohttp.WSMsgType.CLOSE, 1011)


async def test_a_client_that_vanishes_closes_the_agentssocket_echo(agent: Agent) -> None:
    closed: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
    await agent.serves(socket_echo(closed))
    socket = await agent.client.ws_connect(f"{agent.url}{PREFIX}/")
    await socket.send_str("hello")
    await socket.receive()
    await agent.client.close()
    assert await asyncio.wait_for(closed, 30) is not None


def socket_echo(closed: "asyncio.Future[int | None] | None" = None) -> Handler:
    """Return a handler that answers every frame with itself; `bye` closes with a code and a reason."""

    async def echo(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("b", "a"), max_msg_size=0)
        await socket.prepare(request)
        async for frame in socket:
            if frame.data == "bye":
                await socket.close(code=4002, message=b"as you wish")
            elif frame.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(frame.data)
            else:
                await socket.send_bytes(frame.data)
        if closed is not None:
            closed.set_result(socket.close_code)
        return socket

    return echo
