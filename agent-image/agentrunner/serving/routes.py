"""The host's HTTP interface: who may, which session, what to do. See docs/session-host.md."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import ValidationError

from agentrunner.serving import metrics
from agentrunner.serving.launch import transcript_path
from agentrunner.serving.ports import forward
from agentrunner.serving.problems import Problem, draining, not_found
from agentrunner.serving.processes import listens, of_session
from agentrunner.serving.streams import all_turns, one_turn, websocket
from agentrunner.serving.talk import Talk
from agentrunner.serving.tokens import Caller, Verifier
from agentrunner.serving.turns import parse_message
from agentsessions.api.host import TOKEN_HEADER, Scope

MAX_BODY = 10 * 1024 * 1024
MAX_UPLOAD = 1024 * 1024 * 1024
CALLER = web.RequestKey("caller", Caller)
_OPEN = frozenset({"/health", "/ready", "/metrics"})


class Sessions(Protocol):
    """Where the routes find sessions: the registry of a host, or the one session of a pod."""

    @property
    def draining(self) -> bool:
        """Whether no more turns are taken."""

    async def find(self, session_id: str, caller: Caller) -> Talk:
        """Return a session; raises Problem."""


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what goes wrong as a problem, and count what is refused."""
    try:
        return await handler(request)
    except Problem as error:
        if error.status in (401, 403, 421):
            metrics.refused.labels(error.slug).inc()
        return error.response()
    except web.HTTPRequestEntityTooLarge:
        return Problem(413, "too-large", f"A message may have at most {MAX_BODY} bytes.").response()
    except web.HTTPNotFound:
        return not_found().response()
    except web.HTTPMethodNotAllowed as error:
        return Problem(405, "method-not-allowed", f"Use {', '.join(sorted(error.allowed_methods))}.").response()


def guard(verifier: Verifier) -> Middleware:
    """Return the middleware that lets nobody in without a token for this pod."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path not in _OPEN:
            request[CALLER] = verifier.caller(request.headers.get(TOKEN_HEADER, ""))
        return await handler(request)

    return guarded


def allow(caller: Caller, *scopes: Scope) -> None:
    """Raise Problem 403 unless the caller has one of these scopes; the control plane has all."""
    if caller.scope not in (*scopes, Scope.HOST):
        raise Problem(403, "wrong-scope", f"A token of scope '{caller.scope}' does not open this.")


@dataclass(frozen=True, slots=True)
class SessionRoutes:
    """What can be done with one session, on a shared host as in a pod of its own."""

    sessions: Sessions
    client: aiohttp.ClientSession

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        at = "/sessions/{id}"
        return [
            web.get(at, self.state),
            web.post(f"{at}/messages", self.message),
            web.get(f"{at}/events", self.events),
            web.get(f"{at}/ws", self.socket),
            web.post(f"{at}/interrupt", self.interrupt),
            web.get(f"{at}/transcript", self.transcript),
            web.route("*", f"{at}/ports/{{port:\\d+}}/{{path:.*}}", self.port),
        ]

    async def state(self, request: web.Request) -> web.StreamResponse:
        """How the session stands."""
        return web.json_response((await self._conversation(request)).state().to_json())

    async def message(self, request: web.Request) -> web.StreamResponse:
        """Take a message, and stream its turn."""
        conversation = await self._conversation(request)
        if self.sessions.draining:
            raise draining()
        prompt, key = parse_message(await request.read())
        key = request.headers.get("Idempotency-Key") or key
        reject = request.headers.get("X-Agentsessions-When-Busy", "").lower() == "reject"
        turn = conversation.submit(prompt, key, reject_when_busy=reject)
        return await one_turn(request, conversation, turn)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream all turns."""
        return await all_turns(request, await self._conversation(request))

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """Talk over a WebSocket."""
        return await websocket(request, await self._conversation(request), MAX_BODY)

    async def interrupt(self, request: web.Request) -> web.StreamResponse:
        """End the running turn."""
        if not await (await self._conversation(request)).interrupt():
            raise Problem(409, "nothing-running", "The session is not answering a message.")
        return web.json_response({}, status=202)

    async def transcript(self, request: web.Request) -> web.StreamResponse:
        """The conversation as the CLI keeps it, one JSON object a line."""
        conversation = await self._conversation(request)
        path = transcript_path(conversation.places, conversation.who.session_id)
        headers = {"Content-Type": "application/x-ndjson"}
        if not path.exists():
            return web.Response(headers=headers)
        return web.FileResponse(path, headers=headers)

    async def port(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on to a server that the session's agent has started."""
        caller, port = request[CALLER], int(request.match_info["port"])
        conversation = await self._conversation(request, Scope.PORTS)
        if caller.scope is Scope.PORTS and caller.port != port:
            raise Problem(403, "wrong-port", "The token is for another port.")
        address = listens(of_session(conversation.places.config, conversation.state().pid), port)
        if address is None:
            raise Problem(502, "port-not-served", f"Nothing that this session started listens on port {port}.")
        return await forward(request, (address, port), _tail(request), self.client, MAX_UPLOAD)

    async def _conversation(self, request: web.Request, *scopes: Scope) -> Talk:
        """Return the session that the path names, if the caller may have it; `-` is the token's own."""
        caller = request[CALLER]
        allow(caller, *(scopes or (Scope.SESSION, Scope.IMPLICIT)))
        named = request.match_info["id"]
        session_id = caller.session_id or "" if named == "-" else named
        if caller.scope is not Scope.HOST and session_id != caller.session_id:
            raise Problem(403, "wrong-session", "The token is for another session.")
        return await self.sessions.find(uuid_of(session_id), caller)


def _tail(request: web.Request) -> str:
    """Return the path after `/sessions/{id}/ports/{port}/` as the client wrote it."""
    return request.rel_url.raw_path.split("/", 5)[5]


def uuid_of(text: str) -> str:
    """Return a session id in its one form; raises Problem for what is none."""
    try:
        return str(UUID(text))
    except ValueError:
        raise Problem(400, "bad-session-id", "A session's id must be a UUID.") from None


def unreadable(error: ValidationError) -> Problem:
    """Return what to say of a document that cannot be read; never its values."""
    first = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "body"
    return Problem(422, "invalid-activation", f"`{field}` is wrong: {first['msg']}")
