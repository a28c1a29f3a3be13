"""Streams that begin before there is a host: what the client is told, what the host gets, and how often."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from agentsessions.api.base import Json
from agentsessions.api.host import TOKEN_HEADER, problem
from agentsessions.directory import entry, metrics
from agentsessions.directory.config import DirectoryConfig
from agentsessions.directory.delivery import MAX_BODY, host_client
from agentsessions.directory.main import open_relay
from agentsessions.directory.relay import Relay
from agentsessions.directory.world import PoolView
from unit.directory.stage import AT, POD_UID, POOL_UID, UID, Stage, pod, session

WISH = {"x-agentsessions-progress": "stream"}
TURN = b'id: a-1\nevent: message\ndata: {"type": "assistant"}\n\nid: a-2\nevent: done\ndata: {}\n\n'
ASLEEP: Json = {"reason": "Asleep", "message": "It sleeps.", "pod": "", "pod_uid": ""}
WAKING: Json = {"reason": "Waking", "message": "Pod 'one' is starting.", "pod": "", "pod_uid": ""}


@dataclass
class Host:
    """A session's host: it notes what it gets, and answers as the test says."""

    got: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)
    refusal: web.Response | None = None
    cut: str = ""
    gate: asyncio.Event | None = None

    def application(self) -> web.Application:
        """Return the application."""
        app = web.Application(client_max_size=2 * MAX_BODY)
        app.router.add_route("*", "/sessions/-/{tail}", self.answer)
        return app

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Take a request."""
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append((f"{request.method} {request.path_qs}", body, headers))
        assert request.transport is not None
        if self.cut == "before":
            request.transport.abort()
        if self.refusal is not None:
            return self.refusal
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "X-Agentsessions-Session": "resumed",
                "X-Agentsessions-Last-Turn": "interrupted",
            }
        )
        await response.prepare(request)
        await response.write(TURN[:40])
        if self.cut == "within":
            request.transport.abort()
        if self.gate is not None:
            await self.gate.wait()
        await response.write(TURN[40:])
        return response


@dataclass
class Scene:
    """A directory with its relay, a session that sleeps, and its host."""

    stage: Stage
    host: Host
    http: aiohttp.ClientSession
    relay: str
    port: int | None

    async def ticket(self, method: str = "POST", tail: str = "/messages") -> str:
        """Ask the directory about a request whose client wants to be told; return the ticket."""
        status, outcome, found = await self.stage.ask(AT + tail, method, **WISH)
        assert (status, outcome) == (200, "relayed"), found
        assert found.headers["x-dst"] == self.stage.tickets.address
        assert found.headers["x-agentsessions-session"] == UID
        return str(found.headers["x-agentsessions-token"])

    @asynccontextmanager
    async def opened(
        self, ticket: str, method: str = "POST", tail: str = "/messages", **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Come to the relay as Envoy does."""
        headers = {TOKEN_HEADER: ticket} | options.pop("headers", {})
        url = f"http://{self.relay}/sessions/-{tail}"
        async with self.http.request(method, url, headers=headers, **options) as answer:
            yield answer

    def stand(self, **change: Any) -> None:
        """Have the watches tell of the session."""
        self.stage.world.session(("team", "one"), session(**change))

    async def errors(self, **options: Any) -> list[Json]:
        """Return the data of the errors in a stream that a message opens."""
        async with self.opened(await self.ticket(), **options) as answer:
            assert answer.status == 200
            return [json.loads(data) for kind, data in events(await answer.read()) if kind == "error"]


def events(text: bytes) -> list[tuple[str, str]]:
    """Return kind and data of all events."""
    blocks = [block for block in text.decode().split("\n\n") if block and not block.startswith(":")]
    fields = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
    return [(one["event"], one["data"]) for one in fields]


@asynccontextmanager
async def scene(monkeypatch: pytest.MonkeyPatch, heartbeat: float = 5.0, **config: Any) -> AsyncIterator[Scene]:
    """Run the relay, and a host at the port at which all hosts are looked for."""
    stage, host = Stage(config=DirectoryConfig.model_validate({"hold_seconds": 30} | config)), Host()
    async with AsyncExitStack() as stack:
        server = TestServer(host.application())
        await server.start_server()
        stack.push_async_callback(server.close)
        monkeypatch.setattr(entry, "PORT", server.port)
        http = await stack.enter_async_context(host_client())
        relay = Relay(stage.whereabouts, stage.entry, stage.tickets, http, heartbeat)
        stage.tickets.address = await open_relay(stack, relay)
        stage.world.pod(POD_UID, pod(ip="127.0.0.1"))
        client = await stack.enter_async_context(aiohttp.ClientSession())
        found = Scene(stage, host, client, stage.tickets.address, server.port)
        found.stand(**ASLEEP)
        yield found


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds; pytest's own timeout ends a wait for nothing."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0.005)


def gauge(name: str) -> float:
    """Return the value of one of the directory's metrics."""
    return metrics.REGISTRY.get_sample_value(f"agentsessions_directory_{name}") or 0.0


@pytest.mark.requirement("H12")
async def test_a_client_is_told_how_its_session_comes_along_and_then_gets_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with scene(monkeypatch) as at:
        sent = {"Idempotency-Key": "k", "Content-Type": "application/json"}
        async with at.opened(await at.ticket(), data=b'{"prompt": "x"}', headers=sent) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            first = await answer.content.readuntil(b"\n\n")
            at.stand(**WAKING)
            second = await answer.content.readuntil(b"\n\n")
            assert at.host.got == []
            at.stand()
            rest = await answer.read()
        assert events(first + second) == [
            ("progress", '{"reason": "Asleep", "message": "It sleeps."}'),
            ("progress", '{"reason": "Waking", "message": "Pod \'one\' is starting."}'),
        ]
        assert rest.endswith(TURN), "the host's own bytes, ids included"
        (last,) = [json.loads(data) for kind, data in events(rest) if kind == "progress" and "session" in data]
        assert (last["reason"], last["session"], last["lastTurn"]) == ("Running", "resumed", "interrupted")
        assert b"id:" not in first + second + rest.removesuffix(TURN), "where a client is, only the session's ids say"
        ((what, body, headers),) = at.host.got
        assert (what, body, headers["idempotency-key"]) == ("POST /sessions/-/messages", b'{"prompt": "x"}', "k")
        assert at.stage.cluster.asked.count("agentsessions merge") == 1


async def test_the_host_gets_a_token_of_its_own_and_no_ticket(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch) as at:
        ticket = await at.ticket("GET", "/events")
        at.stand()
        headers = {"Last-Event-ID": "a-0"}
        async with at.opened(ticket, "GET", "/events?lastEventId=a%2D0", headers=headers) as answer:
            await answer.read()
        ((what, _, got),) = at.host.got
        assert what == "GET /sessions/-/events?lastEventId=a-0"
        assert got["last-event-id"] == "a-0"
        assert ticket not in got.values()
        key = at.stage.keys.signing.public_key()
        claims = jwt.decode(got[TOKEN_HEADER.lower()], key, algorithms=["EdDSA"], audience=POD_UID)
        assert (claims["sub"], claims["scope"]) == (UID, "session")


async def test_a_session_that_is_there_is_reached_without_the_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch) as at:
        at.stand()
        _, outcome, found = await at.stage.ask(f"{AT}/messages", "POST", **WISH)
        assert outcome == "allowed"
        assert found.headers["x-dst"] == f"127.0.0.1:{at.port}"


@pytest.mark.parametrize(
    ("method", "tail", "headers"),
    [("POST", "/messages", {}), ("POST", "/messages", {"x-agentsessions-progress": "yes"}), ("GET", "/ws", WISH)],
)
async def test_who_does_not_ask_for_it_waits_in_silence(
    monkeypatch: pytest.MonkeyPatch, method: str, tail: str, headers: dict[str, str]
) -> None:
    async with scene(monkeypatch) as at:
        waiting = asyncio.create_task(at.stage.ask(AT + tail, method, **headers))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        at.stand()
        assert (await waiting)[:2] == (200, "allowed")


async def test_a_ticket_is_good_once_and_for_its_own_request(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch) as at:
        ticket = await at.ticket()
        at.stand()
        async with at.opened(ticket, "GET", "/events") as answer:
            assert answer.status == 503
        async with at.opened(ticket, data=b"{}") as answer:
            assert answer.status == 200
            await answer.read()
        for word in (ticket, "", "forged", ticket[:-1]):
            async with at.opened(word, data=b"{}") as answer:
                assert answer.status == 503
                assert (await answer.json(content_type=None))["type"].endswith("/gateway")
        assert len(at.host.got) == 1


async def test_a_ticket_that_nobody_comes_with_expires_and_frees_its_seat(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch, max_held=1) as at:
        at.stage.tickets.life = 0.05
        ticket = await at.ticket()
        assert (await at.stage.ask(f"{AT}/messages", "POST", **WISH))[:2] == (503, "session-not-ready")
        await until(lambda: at.stage.tickets.has_room)
        async with at.opened(ticket, data=b"{}") as answer:
            assert answer.status == 503
        at.stage.tickets.life = 10
        await at.ticket()


async def test_only_so_many_wait_whether_they_are_told_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch, max_held_per_session=2) as at:
        held = gauge("held_requests")
        ticket = await at.ticket()
        silent = asyncio.create_task(at.stage.ask(f"{AT}/messages", "POST"))
        await asyncio.sleep(0.02)
        assert gauge("held_requests") == held + 2
        for headers in ({}, WISH):
            assert (await at.stage.ask(f"{AT}/messages", "POST", **headers))[:2] == (503, "session-not-ready")
        at.stand()
        async with at.opened(ticket, data=b"{}") as answer:
            await answer.read()
        assert (await silent)[0] == 200
        assert gauge("held_requests") == held


async def test_a_stream_whose_session_is_there_waits_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch, max_held_per_session=1) as at:
        held, relays, gate = gauge("held_requests"), gauge("open_relays"), asyncio.Event()
        ticket, at.host.gate = await at.ticket(), gate
        at.stand()
        async with at.opened(ticket, data=b"{}") as answer:
            await until(lambda: at.host.got)
            assert (gauge("held_requests"), gauge("open_relays")) == (held, relays + 1)
            gate.set()
            assert (await answer.read()).endswith(TURN)
        await until(lambda: gauge("open_relays") == relays)


async def test_without_room_for_its_stream_a_request_waits_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch) as at:
        at.stage.tickets.most = 1
        await at.ticket()
        silent = asyncio.create_task(at.stage.ask(f"{AT}/messages", "POST", **WISH))
        await asyncio.sleep(0.02)
        at.stand()
        assert (await silent)[:2] == (200, "allowed")


@pytest.mark.timeout(4)
@pytest.mark.parametrize(("size", "heartbeat"), [(2, 60), (MAX_BODY, 0.02)], ids=["small", "not-read-yet"])
async def test_who_leaves_while_waiting_has_sent_nothing(
    monkeypatch: pytest.MonkeyPatch, size: int, heartbeat: float
) -> None:
    """That a client left shows at once, or by the next sign of life where its message fills the way."""
    async with scene(monkeypatch, heartbeat=heartbeat) as at:
        open_before = gauge("open_relays")
        async with at.opened(await at.ticket(), data=io.BytesIO(b"x" * size)) as answer:
            await answer.content.readuntil(b"\n\n")
            assert gauge("open_relays") == open_before + 1
            answer.close()
        await until(lambda: gauge("open_relays") == open_before)
        at.stand()
        await asyncio.sleep(0.05)
        assert at.host.got == []


async def test_a_quiet_wait_has_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch, heartbeat=0.02) as at, at.opened(await at.ticket(), data=b"{}") as answer:
        await answer.content.readuntil(b"\n\n")
        assert await answer.content.readuntil(b"\n\n") == b": heartbeat\n\n"


@pytest.mark.parametrize(
    ("change", "slug", "status", "wait"),
    [
        ({"finished": True}, "session-finished", 410, None),
        ({"reason": "Suspended"}, "session-suspended", 409, None),
        ({"stalled": True, "reason": "TranscriptMissing"}, "session-stalled", 503, 30),
    ],
)
async def test_what_becomes_of_it_instead_is_an_error_in_the_stream(
    monkeypatch: pytest.MonkeyPatch, change: Json, slug: str, status: int, wait: int | None
) -> None:
    async with scene(monkeypatch) as at, at.opened(await at.ticket(), data=b"{}") as answer:
        await answer.content.readuntil(b"\n\n")
        at.stand(**change)
        ((_, data),) = [event for event in events(await answer.read()) if event[0] == "error"]
        error = json.loads(data)
        assert (error["type"].rpartition("/")[2], error["status"], error.get("retryAfterSeconds")) == (
            slug,
            status,
            wait,
        )
        assert error["message"]
        assert at.host.got == []


async def test_a_wait_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch, hold_seconds=0.1) as at:
        (error,) = await at.errors(data=b"{}")
        assert (error["type"].rpartition("/")[2], error["status"]) == ("session-not-ready", 503)
        assert at.host.got == []


@pytest.mark.parametrize(
    ("slug", "status", "wait"), [("queue-full", 429, 5), ("no-prompt", 422, None), ("draining", 503, 1)]
)
async def test_what_the_host_refuses_is_told_in_its_words(
    monkeypatch: pytest.MonkeyPatch, slug: str, status: int, wait: int | None
) -> None:
    async with scene(monkeypatch) as at:
        ticket = await at.ticket()
        at.stand()
        body = problem(slug, slug, status, f"about {slug}")
        headers = {"Retry-After": str(wait)} if wait else {}
        at.host.refusal = web.json_response(body, status=status, headers=headers)
        async with at.opened(ticket, data=b"{}") as answer:
            ((_, data),) = [event for event in events(await answer.read()) if event[0] == "error"]
        expected: Json = {"message": f"about {slug}", "type": body["type"], "status": status}
        assert json.loads(data) == expected | ({"retryAfterSeconds": wait} if wait else {})


async def test_a_host_that_does_not_take_our_token_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that was told 401 would throw its own good token away."""
    async with scene(monkeypatch) as at:
        ticket = await at.ticket()
        at.stand()
        at.host.refusal = web.json_response(problem("expired-token", "t", 401, "old"), status=401)
        async with at.opened(ticket, data=b"{}") as answer:
            ((_, data),) = [event for event in events(await answer.read()) if event[0] == "error"]
        told = json.loads(data)
        assert (told["status"], told["type"].rpartition("/")[2]) == (503, "session-not-ready")


async def test_an_answer_that_no_host_gives_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch) as at:
        at.stand(**WAKING)
        ticket = await at.ticket()
        at.stand()
        at.host.refusal = web.Response(status=500, text="a secret")
        async with at.opened(ticket, data=b"{}") as answer:
            text = await answer.read()
        assert b"/gateway" in text
        assert b"a secret" not in text


@pytest.mark.parametrize(
    ("method", "tail", "slug"), [("POST", "/messages", "turn-interrupted"), ("GET", "/events", "gateway")]
)
async def test_a_host_that_is_lost_after_the_message_was_sent_gets_it_no_second_time(
    monkeypatch: pytest.MonkeyPatch, method: str, tail: str, slug: str
) -> None:
    async with scene(monkeypatch) as at:
        ticket = await at.ticket(method, tail)
        at.stand()
        at.host.cut = "before"
        async with at.opened(ticket, method, tail, data=b"{}" if method == "POST" else None) as answer:
            ((_, data),) = [event for event in events(await answer.read()) if event[0] == "error"]
        assert json.loads(data)["type"].endswith(f"/{slug}")
        assert [what for what, *_ in at.host.got].count("POST /sessions/-/messages") == (method == "POST")


async def test_half_a_turn_does_not_look_like_a_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch) as at:
        ticket = await at.ticket()
        at.stand()
        at.host.cut = "within"
        with pytest.raises(aiohttp.ClientError):
            async with at.opened(ticket, data=b"{}") as answer:
                await answer.read()
        assert len(at.host.got) == 1


async def test_a_host_that_cannot_be_reached_is_an_error_in_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentsessions.directory.delivery._PAUSES", (0.01,))
    async with scene(monkeypatch) as at:
        ticket = await at.ticket()
        monkeypatch.setattr(entry, "PORT", unused_port())
        at.stand()
        async with at.opened(ticket, data=b"{}") as answer:
            assert b"/gateway" in await answer.read()


async def test_a_host_that_does_not_listen_yet_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentsessions.directory.delivery._PAUSES", (0.02,) * 100)
    async with scene(monkeypatch) as at:
        ticket, port = await at.ticket(), unused_port()
        monkeypatch.setattr(entry, "PORT", port)
        at.stand()
        async with at.opened(ticket, data=b"{}") as answer:
            await asyncio.sleep(0.05)
            late = TestServer(at.host.application(), port=port)
            await late.start_server()
            assert (await answer.read()).endswith(TURN)
            await late.close()
        assert [body for _, body, _ in at.host.got] == [b"{}"]


async def test_a_large_message_waits_at_the_client_and_arrives_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch) as at:
        body = b"x" * MAX_BODY

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(body), 2**16):
                yield body[start : start + 2**16]

        for data in (io.BytesIO(body), chunks()):
            at.stand(**ASLEEP)
            async with at.opened(await at.ticket(), data=data) as answer:
                await answer.content.readuntil(b"\n\n")
                at.stand()
                assert (await answer.read()).endswith(TURN)
        assert [len(got) for _, got, _ in at.host.got] == [MAX_BODY, MAX_BODY]


async def test_a_message_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch) as at:
        async with at.opened(await at.ticket(), data=io.BytesIO(b"x" * (MAX_BODY + 1))) as answer:
            assert answer.status == 413

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(11):
                yield b"x" * 2**20

        ticket = await at.ticket()
        at.stand()
        async with at.opened(ticket, data=chunks()) as answer:
            ((_, data),) = [event for event in events(await answer.read()) if event[0] == "error"]
        assert json.loads(data)["type"].endswith("/too-large")
        assert at.host.got == [], "half a message is none"


async def test_an_id_of_a_pool_is_told_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch) as at:
        at.stage.world.pool(("team", "chat"), PoolView(POOL_UID, True))
        at.stage.world.pod(POD_UID, None)
        path = "/v1/namespaces/team/pools/chat/sessions/abc/messages"
        _, outcome, found = await at.stage.ask(path, "POST", **WISH)
        assert outcome == "relayed"
        async with at.opened(found.headers["x-agentsessions-token"], data=b"{}") as answer:
            first = await answer.content.readuntil(b"\n\n")
            at.stage.world.pod(POD_UID, pod(ip="127.0.0.1"))
            assert (await answer.read()).endswith(TURN)
        ((_, data),) = events(first)
        assert json.loads(data)["reason"] == "NoReadyHost"
