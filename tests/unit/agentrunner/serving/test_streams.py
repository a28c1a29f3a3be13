"""Streams of a session over real connections: order, taking up, readers that are slow or leave, WebSocket frames."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agentrunner.serving import streams
from agentrunner.serving.eventlog import EventLog
from agentrunner.serving.problems import Problem
from agentrunner.serving.turns import Turn
from agentsessions.api.host import Beginning

CHUNK = "x" * 100_000
PATIENCE = 20.0


@dataclass
class Session:
    """A session whose agent is the test."""

    events: EventLog = field(default_factory=lambda: EventLog("abc", max_bytes=10 * len(CHUNK)))
    beginning: Beginning = Beginning.FRESH
    interrupted: bool = False
    streams: int = 0
    messages: list[tuple[str, str | None]] = field(default_factory=list)
    interrupts: int = 0

    def entered(self, by: int) -> None:
        self.streams += by

    def submit(self, prompt: str, key: str | None, *, reject_when_busy: bool) -> Turn:
        if prompt == "too many":
            raise Problem(429, "queue-full", "Too many messages wait for this session.")
        self.messages.append((prompt, key))
        return Turn(len(self.messages), prompt, key or "", after=self.events.last, incarnation=self.events.incarnation)

    async def interrupt(self) -> bool:
        self.interrupts += 1
        return True

    def says(self, *texts: str, turn: int = 1) -> None:
        """Add a message for each text."""
        for text in texts:
            self.events.append("message", {"text": text}, turn)

    async def until_streams(self, count: int) -> None:
        """Wait until so many clients follow."""
        async with asyncio.timeout(PATIENCE):
            while self.streams != count:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.01)


class Server:
    """The session's streams on a port, and clients."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.session = Session()
        self.url = ""
        self.turn = Turn(1, "hello", "", after=0, incarnation="abc")

    async def start(self) -> None:
        session: Any = self.session

        async def events(request: web.Request) -> web.StreamResponse:
            return await streams.all_turns(request, session)

        async def messages(request: web.Request) -> web.StreamResponse:
            return await streams.one_turn(request, session, self.turn)

        async def ws(request: web.Request) -> web.StreamResponse:
            return await streams.websocket(request, session, 1_000_000)

        app = web.Application()
        app.add_routes([web.get("/events", events), web.post("/messages", messages), web.get("/ws", ws)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self.http = await self._stack.enter_async_context(aiohttp.ClientSession(self.url))

    def raw(self, path: str) -> socket.socket:
        """Ask for a stream by a socket with little room that nobody reads yet."""
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.connect(("127.0.0.1", int(self.url.rpartition(":")[2])))
        made.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self._stack.callback(made.close)
        return made


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Return a session that can be followed."""
    async with AsyncExitStack() as stack:
        made = Server(stack)
        await made.start()
        yield made


async def frames(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, str]]:
    """Yield server-sent events as they come; comments as events of that kind."""
    found: dict[str, str] = {}
    async for raw in answer.content:
        line = raw.decode().rstrip("\n")
        if line.startswith(":"):
            found = {"event": "comment"}
        elif line:
            name, _, value = line.partition(": ")
            found[name] = value
        elif found:
            yield found
            found = {}


def slug(data: str) -> str:
    return str(json.loads(data)["type"]).rpartition("/")[2]


@pytest.mark.requirement("H25")
async def test_a_slow_reader_holds_up_nobody_and_is_told_what_it_missed(server: Server) -> None:
    session = server.session
    slow = server.raw("/events")
    await session.until_streams(1)
    async with server.http.get("/events") as answer:
        await session.until_streams(2)
        fast = frames(answer)
        for number in range(200):  # 20 MB, of which the log keeps 1: more than any socket takes in
            session.says(f"{number} {CHUNK}")
            async with asyncio.timeout(PATIENCE):
                assert (await anext(fast))["id"] == f"abc-{number + 1}"
    session.events.close()
    text = (await asyncio.to_thread(_drained, slow)).decode()
    numbers = [int(line.removeprefix("id: abc-")) for line in text.splitlines() if line.startswith("id: ")]
    assert numbers == list(range(1, len(numbers) + 1)), "what it got is whole and in order"
    assert len(numbers) < 200
    *_, last = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert slug(last) == "events-lost"
    await session.until_streams(0)


def _drained(sock: socket.socket) -> bytes:
    """Read to the end of the answer."""
    sock.settimeout(PATIENCE)
    out = b""
    while not out.endswith(b"0\r\n\r\n") and (chunk := sock.recv(65536)):
        out += chunk
    return out


async def test_what_a_slow_reader_is_behind_is_bounded(server: Server) -> None:
    server.raw("/events")
    await server.session.until_streams(1)
    for _ in range(200):
        server.session.says(CHUNK)
    kept = server.session.events.after(server.session.events.oldest - 1)
    assert sum(len(event.data) for event in kept) <= 10 * len(CHUNK)


async def test_a_client_that_hangs_up_is_not_counted_any_more(server: Server) -> None:
    async with server.http.get("/events"):
        await server.session.until_streams(1)
    server.session.says("a", "b")
    await server.session.until_streams(0)


async def test_a_stream_goes_on_after_the_event_that_the_client_names(server: Server) -> None:
    server.session.says("one", "two", "three")
    for ask in ({"headers": {"Last-Event-ID": "abc-1"}}, {"params": {"lastEventId": "abc-1"}}):
        async with server.http.get("/events", **ask) as answer:  # type: ignore[arg-type]
            seen = frames(answer)
            assert [(await anext(seen))["id"] for _ in range(2)] == ["abc-2", "abc-3"]


@pytest.mark.parametrize("place", ["old-7", "abc-99", "nonsense"])
async def test_a_place_that_is_not_kept_is_said_and_then_comes_what_there_is(server: Server, place: str) -> None:
    server.session.says("one", "two")
    async with server.http.get("/events", headers={"Last-Event-ID": place}) as answer:
        seen = frames(answer)
        lost = await anext(seen)
        assert (lost["event"], slug(lost["data"]), "id" in lost) == ("error", "events-lost", False)
        assert [(await anext(seen))["id"] for _ in range(2)] == ["abc-1", "abc-2"]


async def test_without_a_place_a_stream_begins_now(server: Server) -> None:
    server.session.says("before")
    async with server.http.get("/events") as answer:
        await server.session.until_streams(1)
        server.session.says("after")
        assert (await anext(frames(answer)))["id"] == "abc-2"


async def test_a_message_streams_its_own_turn_only_and_ends_with_it(server: Server) -> None:
    session = server.session
    session.says("earlier", turn=0)
    session.says("mine")
    session.says("of nobody", turn=0)
    session.events.append("done", {}, 1)
    session.says("next", turn=2)
    async with server.http.post("/messages") as answer:
        seen = [(event["event"], event["id"]) async for event in frames(answer)]
    assert seen == [("message", "abc-2"), ("done", "abc-4")]


async def test_a_quiet_stream_is_kept_alive(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.05)
    async with server.http.get("/events") as answer:
        seen = frames(answer)
        assert [(await anext(seen))["event"] for _ in range(2)] == ["comment", "comment"]


@pytest.mark.parametrize("beginning", list(Beginning))
async def test_every_stream_says_with_what_the_session_began(server: Server, beginning: Beginning) -> None:
    server.session.beginning = beginning
    server.session.events.append("done", {}, 1)
    for verb, path in (("GET", "/events"), ("POST", "/messages")):
        async with server.http.request(verb, path) as answer:
            assert answer.headers["X-Agentsessions-Session"] == beginning.lower()


@pytest.mark.requirement("H25")
async def test_a_websocket_takes_messages_and_interrupts_and_says_what_is_wrong(server: Server) -> None:
    async with server.http.ws_connect("/ws") as ws:
        await ws.send_json({"type": "message", "prompt": "hello", "idempotencyKey": "k"})
        await ws.send_json({"type": "message", "prompt": "again"})
        await ws.send_json({"type": "interrupt"})
        wrong = [
            "no json",
            "[]",
            '{"type": "shout"}',
            '{"type": "message"}',
            '{"type": "message", "prompt": "too many"}',
        ]
        for text in wrong:
            await ws.send_str(text)
        answers = [await ws.receive_json(timeout=PATIENCE) for _ in wrong]
        server.session.says("hi")
        assert await ws.receive_json(timeout=PATIENCE) == {"id": "abc-1", "event": "message", "data": {"text": "hi"}}
    assert server.session.messages == [("hello", "k"), ("again", None)]
    assert server.session.interrupts == 1
    assert [answer["event"] for answer in answers] == ["error"] * len(wrong)
    slugs = [str(answer["data"]["type"]).rpartition("/")[2] for answer in answers]
    assert slugs == ["not-json", "unknown-frame", "unknown-frame", "no-prompt", "queue-full"]


async def test_a_websocket_goes_on_after_the_event_that_the_client_names(server: Server) -> None:
    server.session.says("one", "two", "three")
    async with server.http.ws_connect("/ws", params={"lastEventId": "abc-1"}) as ws:
        seen = [await ws.receive_json(timeout=PATIENCE) for _ in range(2)]
    assert [(one["id"], one["data"]["text"]) for one in seen] == [("abc-2", "two"), ("abc-3", "three")]


async def test_a_websocket_ends_with_the_session_and_says_so(server: Server) -> None:
    async with server.http.ws_connect("/ws") as ws:
        await server.session.until_streams(1)
        server.session.events.close()
        assert (await ws.receive(timeout=PATIENCE)).type is aiohttp.WSMsgType.CLOSE
        assert ws.close_code == aiohttp.WSCloseCode.GOING_AWAY
    await server.session.until_streams(0)


async def test_the_subprotocol_of_ours_is_chosen(server: Server) -> None:
    async with server.http.ws_connect("/ws", protocols=("other", "agentsessions.v1")) as ws:
        assert ws.protocol == "agentsessions.v1"
