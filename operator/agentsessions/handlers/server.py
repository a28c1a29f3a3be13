"""The operator's HTTP server: /healthz, /readyz and /metrics."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import generate_latest

from agentsessions.metrics import REGISTRY


@dataclass
class Health:
    """What the probes answer; `alive` is asked anew each time."""

    alive: Callable[[], bool]
    ready: bool = False


def application(health: Health) -> web.Application:
    """Return the application."""

    async def healthz(_: web.Request) -> web.Response:
        return _answer(health.alive(), "a watch is stale")

    async def readyz(_: web.Request) -> web.Response:
        return _answer(health.ready and health.alive(), "the API server has not answered yet, or a watch is stale")

    async def measured(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(REGISTRY), content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", measured)])
    return app


async def serve(health: Health, port: int) -> web.AppRunner:
    """Start to listen; the caller stops it by `cleanup`."""
    runner = web.AppRunner(application(health), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", port).start()
    return runner


def _answer(well: bool, problem: str) -> web.Response:
    """Return 200 or 503 with a word."""
    return web.Response(text="ok\n") if well else web.Response(status=503, text=f"{problem}\n")
