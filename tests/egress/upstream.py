"""A tiny model API that remembers what it was sent; it says what the test needs, not what a model would."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Upstream:
    """The server: where it listens, what it received, and the gate between the two events of a stream."""

    port: int = 0
    requests: list[web.Request] = field(default_factory=list)
    second_event: asyncio.Event = field(default_factory=asyncio.Event)

    def address(self, *, tls: bool = False, **more: Any) -> dict[str, Any]:
        """Return the chart's `egress.upstream` values that lead here."""
        return {"host": "localhost", "port": self.port, "tls": tls, **more}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Record the request; stream where the path asks for it."""
        self.requests.append(request)
        await request.read()
        if request.query.get("stream"):
            return await self._stream(request)
        return web.json_response({"ok": True}, headers={"request-id": "req_from_upstream"})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Send one event, and the second only once the test has seen the first."""
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"event: first\ndata: {}\n\n")
        await self.second_event.wait()
        await response.write(b"event: second\ndata: {}\n\n")
        return response


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    """Serve on a free loopback port until the block ends."""
    upstream = Upstream()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", upstream.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        upstream.port = runner.addresses[0][1]
        yield upstream
    finally:
        await runner.cleanup()
