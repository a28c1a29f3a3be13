"""The HTTP server beside a task: how a session in a pod of its own is talked to while it runs."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from prometheus_client import generate_latest

from agentrunner.errors import InvalidInput
from agentrunner.events import EventLog
from agentrunner.serving import metrics
from agentrunner.serving.ports import port_client
from agentrunner.serving.problems import draining
from agentrunner.serving.routes import MAX_BODY, SessionRoutes, Sessions, guard, problems
from agentrunner.serving.tokens import Verifier
from agentsessions.api.host import PORT

_LEAVE_SECONDS = 2.0
"""How long clients that still read may take at the end."""


@dataclass(frozen=True, slots=True)
class Door:
    """Who may come in, and where."""

    verifier: Verifier
    port: int


def door(own: Mapping[str, str]) -> Door:
    """Return the door that the environment describes; raise InvalidInput for what is missing or wrong."""
    pod_uid = own.get("AGENTSESSIONS_POD_UID", "")
    if not pod_uid:
        raise InvalidInput("AGENTSESSIONS_POD_UID is not set, but AGENTSESSIONS_PUBLIC_KEYS is: set both or neither")
    verifier = Verifier(own["AGENTSESSIONS_PUBLIC_KEYS"], pod_uid)
    return Door(verifier, int(own.get("AGENTSESSIONS_PORT", PORT)))


@asynccontextmanager
async def opened(way: Door, sessions: Sessions, log: EventLog) -> AsyncGenerator[None, None]:
    """Let clients in for as long as the block lasts; a port that is taken costs the talk, but never the task."""
    async with port_client() as client:
        app = _application(way, sessions, client)
        # Bodies for agents' servers are passed on as they are, compressed or not.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_LEAVE_SECONDS, auto_decompress=False)
        await runner.setup()
        try:
            await web.TCPSite(runner, "0.0.0.0", way.port).start()
            log.emit("serving", port=way.port)
        except OSError as error:
            log.emit("notServing", port=way.port, error=error.strerror)
        try:
            yield
        finally:
            await runner.cleanup()


def _application(way: Door, sessions: Sessions, client: aiohttp.ClientSession) -> web.Application:
    async def health(_: web.Request) -> web.StreamResponse:
        return web.json_response({"status": "ok"})

    async def ready(_: web.Request) -> web.StreamResponse:
        if sessions.draining:
            raise draining()
        return web.json_response({"status": "ok"})

    async def measured(_: web.Request) -> web.StreamResponse:
        return web.Response(body=generate_latest(metrics.REGISTRY), content_type="text/plain", charset="utf-8")

    app = web.Application(middlewares=[problems, guard(way.verifier)], client_max_size=MAX_BODY)
    app.add_routes([web.get("/health", health), web.get("/ready", ready), web.get("/metrics", measured)])
    app.add_routes(SessionRoutes(sessions, client).routes())
    return app
