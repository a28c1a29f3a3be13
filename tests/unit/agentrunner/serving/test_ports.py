"""What agents serve, passed on over real HTTP: nothing is changed, kept, or told that is not theirs."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from unit.agentrunner.serving.served import LIMIT, PREFIX, Agent, Handler


def text(body: str = "ok", **headers: str) -> Handler:
    """Return a handler that always says the same."""

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(text=body, headers=headers)

    return handler


@pytest.mark.requirement("H11")
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_method_body_and_answer_pass_through(agent: Agent, method: str) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        return web.Response(status=207, reason="Odd", body=await request.read(), headers={"X-Mine": request.method})

    await agent.serves(echo)
    async with agent.client.request(method, f"{agent.url}{PREFIX}/a", data=b"\x00body") as answer:
        assert (answer.status, answer.reason, await answer.read()) == (207, "Odd", b"\x00body")
        assert answer.headers["X-Mine"] == method


async def test_head_says_the_length_and_nothing_else(agent: Agent) -> None:
    await agent.serves(text("12345"))
    async with agent.client.head(f"{agent.url}{PREFIX}/") as answer:
        assert (answer.status, answer.headers["Content-Length"], await answer.read()) == (200, "5", b"")


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body(agent: Agent, status: int) -> None:
    async def empty(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"ETag": '"1"'})

    await agent.serves(empty)
    async with agent.client.get(f"{agent.url}{PREFIX}/") as answer:
        assert (answer.status, answer.headers["ETag"], await answer.read()) == (status, '"1"', b"")


@pytest.mark.parametrize(
    "tail", ["/a%20b/c%2Fd/%23e?x=1&y=%26%20+z", "/?a", "/ü?ö=ß", "//double//", "/a;b=c:d@e", "/%3Fquery", "/x?"]
)
async def test_the_path_is_what_the_client_wrote(agent: Agent, tail: str) -> None:
    await agent.serves(text())
    url = URL(agent.url + PREFIX + tail, encoded=tail.isascii())
    async with agent.client.get(url):
        assert agent.seen[0].raw_path == url.raw_path_qs.removeprefix(PREFIX)


@pytest.mark.requirement("H11", "H25")
async def test_what_opens_doors_is_not_told_to_the_agent(agent: Agent) -> None:
    await agent.serves(text())
    secrets = {
        "Authorization": "Bearer a",
        "X-Agentsessions-Token": "t",
        "x-agentsessions-anything": "t",
        "X-Envoy-Peer": "e",
        "Proxy-Authorization": "Basic b",
    }
    async with agent.client.get(f"{agent.url}{PREFIX}/", headers=secrets | {"X-Own": "kept", "Cookie": "a=b"}):
        found = agent.seen[0].headers
    assert not {name.lower() for name in secrets} & {name.lower() for name in found}
    assert (found["X-Own"], found["Cookie"]) == ("kept", "a=b")


async def test_headers_of_one_connection_stay_there(agent: Agent) -> None:
    await agent.serves(text(**{"Connection": "X-Inner", "X-Inner": "i", "Keep-Alive": "1", "X-Own": "kept"}))
    sent = {"Connection": "X-Outer, keep-alive", "X-Outer": "o", "TE": "trailers", "X-Own": "kept"}
    async with agent.client.get(f"{agent.url}{PREFIX}/", headers=sent) as answer:
        got, found = answer.headers, agent.seen[0].headers
    assert not {"X-Outer", "TE"} & set(found)
    assert not {"X-Inner", "Keep-Alive"} & set(got)
    assert (found["X-Own"], got["X-Own"]) == ("kept", "kept")


async def test_the_agent_is_told_under_which_prefix_it_is_seen(agent: Agent) -> None:
    await agent.serves(text())
    async with agent.client.get(f"{agent.url}{PREFIX}/", headers={"X-Agentsessions-Prefix": "/v1/x/ports/3000"}):
        assert agent.seen[0].headers["X-Forwarded-Prefix"] == "/v1/x/ports/3000"
    async with agent.client.get(f"{agent.url}{PREFIX}/"):
        assert "X-Forwarded-Prefix" not in agent.seen[1].headers


async def test_nothing_is_said_in_the_clients_name(agent: Agent) -> None:
    await agent.serves(text())
    names = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")
    async with agent.client.get(f"{agent.url}{PREFIX}/", skip_auto_headers=names):
        assert not {*names, "Content-Type"} & set(agent.seen[0].headers)


async def test_redirects_are_the_clients_to_follow(agent: Agent) -> None:
    async def away(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://169.254.169.254/")

    await agent.serves(away)
    async with agent.client.get(f"{agent.url}{PREFIX}/", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "http://169.254.169.254/")


async def test_cookies_are_passed_and_never_kept(agent: Agent) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        answer = web.Response()
        answer.headers.add("Set-Cookie", "a=1")
        answer.headers.add("Set-Cookie", "b=2")
        return answer

    await agent.serves(handler)
    for _ in range(2):
        async with agent.client.get(f"{agent.url}{PREFIX}/") as answer:
            assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]
    assert all("Cookie" not in request.headers for request in agent.seen)


@pytest.mark.parametrize(
    ("name", "packed"), [("gzip", gzip.compress(b"x" * 99, mtime=0)), ("deflate", zlib.compress(b"x" * 99))]
)
async def test_compressed_bodies_pass_as_they_are(agent: Agent, name: str, packed: bytes) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        return web.Response(
            body=await request.read(), headers={"Content-Encoding": request.headers["Content-Encoding"]}
        )

    await agent.serves(echo)
    head = {"Content-Encoding": name}
    async with agent.client.post(f"{agent.url}{PREFIX}/", data=packed, headers=head) as answer:
        assert (await answer.read(), answer.headers["Content-Encoding"]) == (packed, name)


@pytest.mark.requirement("H11")
async def test_an_answer_comes_as_it_is_made(agent: Agent) -> None:
    go_on = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b"first")
        await go_on.wait()
        await answer.write(b"second")
        return answer

    await agent.serves(slow)
    async with agent.client.get(f"{agent.url}{PREFIX}/") as answer:
        first = await answer.content.readany()
        go_on.set()
        assert (first, await answer.read()) == (b"first", b"second")


async def test_a_body_goes_as_it_comes(agent: Agent) -> None:
    arrived = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        first = await request.content.readany()
        arrived.set()
        return web.Response(body=first + b"|" + await request.read())

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await arrived.wait()
        yield b"second"

    await agent.serves(handler)
    async with agent.client.post(f"{agent.url}{PREFIX}/", data=body()) as answer:
        assert await answer.read() == b"first|second"


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
@pytest.mark.parametrize("is_announced", [True, False])
async def test_bodies_are_bounded(agent: Agent, size: int, is_announced: bool) -> None:
    async def count(request: web.Request) -> web.StreamResponse:
        total = 0
        async for chunk in request.content.iter_any():
            total += len(chunk)
        return web.Response(text=str(total))

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, size, 50_000):
            yield b"x" * min(50_000, size - start)

    await agent.serves(count)
    async with agent.client.post(f"{agent.url}{PREFIX}/", data=b"x" * size if is_announced else chunks()) as answer:
        found = (answer.status, answer.headers["Content-Type"])
    assert found[0] == (200 if size == LIMIT else 413)
    assert found[1].startswith("text/plain" if size == LIMIT else "application/problem+json")


@pytest.mark.requirement("H11")
async def test_a_server_that_does_not_answer_is_a_problem(agent: Agent, unused_tcp_port: int) -> None:
    await agent.stands_before(unused_tcp_port)
    async with agent.client.get(f"{agent.url}{PREFIX}/") as answer:
        body = await answer.json(content_type="application/problem+json")
    assert (answer.status, body["type"].rpartition("/")[2]) == (502, "port-not-served")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await agent.client.ws_connect(f"{agent.url}{PREFIX}/")
    assert refused.value.status == 502


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
async def test_half_an_answer_does_not_look_like_a_whole_one(agent: Agent, framing: str) -> None:
    async def half(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n4\r\nhalf\r\n".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(half, "127.0.0.1", 0) as server:
        await agent.stands_before(server.sockets[0].getsockname()[1])
        with pytest.raises(aiohttp.ClientError):
            async with agent.client.get(f"{agent.url}{PREFIX}/") as answer:
                await answer.read()


async def test_a_client_that_leaves_lets_the_server_go(agent: Agent) -> None:
    left = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b"x" * 1000)
                await asyncio.sleep(0)
        finally:
            left.set()

    await agent.serves(endless)
    async with agent.client.get(f"{agent.url}{PREFIX}/") as answer:
        await answer.content.readany()
        answer.close()
    await asyncio.wait_for(left.wait(), 30)
