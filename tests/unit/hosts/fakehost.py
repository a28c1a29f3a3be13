"""A session host without agents: the calls that the control plane makes, over real HTTP, with tokens checked."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentsessions.api.base import Json
from agentsessions.api.host import (
    ALGORITHM,
    ISSUER,
    TOKEN_HEADER,
    Activation,
    Beginning,
    HostSession,
    HostSnapshot,
    Phase,
    problem,
)
from agentsessions.hosts.client import HostAddress, HostClient, connections
from agentsessions.hosts.keys import KeyRing, key_ring, new_key
from agentsessions.hosts.tokens import Signer

KEYS = key_ring(new_key())
NOWHERE = HostAddress("", "", "")


def verified(token: str, keys: KeyRing, pod_uid: str) -> Json:
    """Return a token's claims as a host would read them; raises jwt.PyJWTError."""
    known = {key.key_id: key for key in jwt.PyJWKSet.from_json(keys.public_keys).keys}
    key = known[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(
        token, key, algorithms=[ALGORITHM], audience=pod_uid, issuer=ISSUER, options={"require": ["exp", "iat", "aud"]}
    )


@dataclass
class FakeHost:
    """A host that does what the test tells it."""

    pod: str = "chat-0"
    uid: str = "pod-uid-0"
    capacity: int = 10
    incarnation: str = "one"
    beginning: Beginning = Beginning.FRESH
    refusal: tuple[str, int] | None = None
    sessions: dict[str, HostSession] = field(default_factory=dict)
    given: list[Activation] = field(default_factory=list)
    deleted: list[tuple[str, str]] = field(default_factory=list)
    archived: list[str] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    followers: list[asyncio.Queue[bytes | None]] = field(default_factory=list)
    connections: int = 0
    address: HostAddress = NOWHERE

    def application(self) -> web.Application:
        """Return the application."""
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.put("/sessions/{id}", self._put),
                web.get("/sessions", self._list),
                web.get("/sessions/{id}", self._get),
                web.delete("/sessions/{id}", self._delete),
                web.post("/sessions/{id}/suspend", self._get),
                web.get("/events", self._events),
            ]
        )
        return app

    def snapshot(self) -> HostSnapshot:
        """Return what the host knows of itself."""
        return HostSnapshot.model_validate(
            {
                "pod_uid": self.uid,
                "incarnation": self.incarnation,
                "capacity": self.capacity,
                "sessions": list(self.sessions.values()),
            }
        )

    def say(self, kind: str, body: Json) -> None:
        """Send an event to all who follow."""
        self.say_raw(f": heartbeat\n\nevent: {kind}\ndata: {json.dumps(body)}\n\n".encode())

    def say_raw(self, chunk: bytes) -> None:
        """Send bytes to all who follow."""
        for follower in self.followers:
            follower.put_nowait(chunk)

    def tell(self, session: HostSession) -> None:
        """Change a session and tell of it."""
        self.sessions[str(session.session_id)] = session
        self.say("session", session.to_json())

    def hang_up(self) -> None:
        """End all streams."""
        for follower in self.followers:
            follower.put_nowait(None)
        self.followers.clear()

    @web.middleware
    async def _guard(self, request: web.Request, handler: object) -> web.StreamResponse:
        try:
            claims = verified(request.headers.get(TOKEN_HEADER, ""), KEYS, self.uid)
        except jwt.InvalidAudienceError:
            return _problem("misdirected", 421)
        self.scopes.append(claims["scope"])
        if self.refusal is not None:
            return _problem(*self.refusal)
        return await handler(request)  # type: ignore[operator, no-any-return]

    async def _put(self, request: web.Request) -> web.Response:
        given = Activation.model_validate(await request.json())
        self.given.append(given)
        made = make_host_session(str(given.session_id), given.name, given.namespace, beginning=self.beginning)
        session = self.sessions.setdefault(str(given.session_id), made)
        return web.json_response(session.to_json())

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response(self.snapshot().to_json())

    async def _get(self, request: web.Request) -> web.Response:
        session = self.sessions.get(request.match_info["id"])
        return web.json_response(session.to_json()) if session else _problem("unknown-session", 404)

    async def _delete(self, request: web.Request) -> web.Response:
        self.deleted.append((request.match_info["id"], request.query["files"]))
        self.archived += [request.match_info["id"]] if request.query.get("archive") == "true" else []
        if self.sessions.pop(request.match_info["id"], None):
            self.say("removed", {"sessionId": request.match_info["id"]})
        return web.Response(status=204)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        mine: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.followers.append(mine)
        await answer.write(f"event: snapshot\ndata: {json.dumps(self.snapshot().to_json())}\n\n".encode())
        while (chunk := await mine.get()) is not None:
            await answer.write(chunk)
        return answer


def _problem(slug: str, status: int) -> web.Response:
    body = problem(slug, slug, status, f"about {slug}")
    return web.json_response(body, status=status, content_type="application/problem+json")


def make_host_session(session_id: str, name: str = "talk", namespace: str = "team-a", **fields: object) -> HostSession:
    """Return a session as a host has it."""
    base = {"session_id": session_id, "namespace": namespace, "name": name, "phase": Phase.IDLE}
    return HostSession.model_validate(base | {"last_activity_time": datetime(2026, 5, 4, 12, tzinfo=UTC)} | fields)


@asynccontextmanager
async def serving(*hosts: FakeHost) -> AsyncIterator[HostClient]:
    """Serve the hosts on ports of their own and yield a client for them."""
    servers = []
    for host in hosts:
        server = TestServer(host.application())
        await server.start_server()
        servers.append(server)
        host.address = HostAddress(host.pod, host.uid, "127.0.0.1", server.port or 0)
    async with connections() as http:
        try:
            yield HostClient(http, Signer(KEYS))
        finally:
            for host in hosts:
                host.hang_up()
            for server in servers:
                await server.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds; pytest's own timeout ends a wait for nothing."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0.005)
