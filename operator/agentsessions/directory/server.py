"""The directory's two ports: Envoy asks on one, on loopback; probes and Prometheus on the other."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import generate_latest

from agentsessions.directory import metrics
from agentsessions.directory.decide import Decider

_PREFIX = "/check"
_ON_THE_WIRE = {503: 425}
"""Envoy takes a 5xx for a failure of ours and drops the body; its configuration turns this one back into 503."""


def questions(decider: Decider) -> web.Application:
    """Return the application that Envoy asks (ext_authz over HTTP)."""

    async def check(request: web.Request) -> web.Response:
        # `rel_url` would decode what Envoy left encoded; the raw path is what the client sent.
        url = request.raw_path.removeprefix(_PREFIX)
        headers = {name.lower(): value for name, value in request.headers.items()}
        found = await decider.decide(request.method, url, headers)
        if found.body is None:
            return web.Response(status=found.status, headers=found.headers)
        code = _ON_THE_WIRE.get(found.status, found.status)
        return web.json_response(
            found.body, status=code, headers=found.headers, content_type="application/problem+json"
        )

    app = web.Application()
    app.router.add_route("*", _PREFIX + "{path:.*}", check)
    return app


def status(ready: Callable[[], bool]) -> web.Application:
    """Return the application for probes and metrics."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if ready() else web.Response(status=503, text="not listed yet\n")

    async def measured(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.REGISTRY), content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", measured)])
    return app
