"""The model stand-in inside the test's own process, with what it saw."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from standin.ledger import Ledger
from standin.server import LEDGER, make_app

Handler = Any


class Model:
    """A running stand-in."""

    def __init__(self, url: str, ledger: Ledger, bodies: list[dict[str, Any]]) -> None:
        self.url = url
        self.bodies = bodies
        self._ledger = ledger

    def requests(self, session_id: str) -> int:
        """Return how many model calls a session has made."""
        seen = self._ledger.sessions.get(session_id)
        return seen.requests if seen else 0


def script(*steps: dict[str, Any], around: str = "Do the task.") -> str:
    """Return a prompt that makes the stand-in answer with these steps; prompts in there may have scripts too."""
    body = json.dumps(steps).replace("<<script", "\\u003c<script").replace("script>>", "script\\u003e>")
    return f"{around} <<script {body} script>>"


@asynccontextmanager
async def serve() -> AsyncIterator[Model]:
    """Serve the stand-in on a free port of the loopback, and keep the bodies of requests."""
    bodies: list[dict[str, Any]] = []

    @web.middleware
    async def keep(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/v1/messages":
            bodies.append(json.loads(await request.read()))
        return await handler(request)  # type: ignore[no-any-return]

    app = make_app()
    app.middlewares.append(keep)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield Model(f"http://127.0.0.1:{port}", app[LEDGER], bodies)
    finally:
        await runner.cleanup()
