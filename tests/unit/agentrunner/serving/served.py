"""A server that an agent has started, and the door before it: both real, in the test's own process."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
from aiohttp import web

from agentrunner.serving.ports import forward, port_client
from agentrunner.serving.routes import problems

LIMIT = 1_000_000
PREFIX = "/ports"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Agent:
    """A server that an agent has started, and the door before it."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.url = ""
        self.seen: list[web.Request] = []
        self.client: aiohttp.ClientSession

    async def serves(self, handler: Handler) -> None:
        """Start both; `handler` is the agent's."""

        async def noted(request: web.Request) -> web.StreamResponse:
            self.seen.append(request)
            return await handler(request)

        port = await self._run(noted)
        await self.stands_before(port)

    async def stands_before(self, port: int) -> None:
        """Start the door before a port."""
        inner = await self._stack.enter_async_context(port_client())

        async def door(request: web.Request) -> web.StreamResponse:
            path = request.rel_url.raw_path.removeprefix(f"{PREFIX}/")
            return await forward(request, ("127.0.0.1", port), path, inner, LIMIT)

        self.url = f"http://127.0.0.1:{await self._run(door)}"
        # What the door answers is looked at as it is.
        self.client = await self._stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))

    async def _run(self, handler: Handler) -> int:
        app = web.Application(middlewares=[problems])
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, auto_decompress=False)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])
