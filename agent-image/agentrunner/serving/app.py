"""The host's application: routes of the control plane and of sessions, around one registry."""

import asyncio
import json
from contextlib import aclosing

import aiohttp
from aiohttp import web
from prometheus_client import generate_latest
from pydantic import ValidationError

from agentrunner.serving import metrics
from agentrunner.serving.news import News
from agentrunner.serving.problems import Problem, draining, not_found
from agentrunner.serving.registry import Registry
from agentrunner.serving.routes import CALLER, MAX_BODY, SessionRoutes, allow, guard, problems, unreadable, uuid_of
from agentrunner.serving.streams import frame, stream_headers
from agentrunner.serving.tokens import Verifier
from agentsessions.api.host import Activation, Phase, Scope


class HostRoutes:
    """What the control plane does with the host as a whole."""

    def __init__(self, registry: Registry, news: News) -> None:
        self._registry = registry
        self._news = news

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/health", self.health),
            web.get("/ready", self.ready),
            web.get("/metrics", self.measured),
            web.get("/sessions", self.snapshot),
            web.get("/events", self.events),
            web.put("/sessions/{id}", self.activate),
            web.delete("/sessions/{id}", self.delete),
            web.post("/sessions/{id}/suspend", self.suspend),
        ]

    async def health(self, _: web.Request) -> web.StreamResponse:
        """The host lives."""
        return web.json_response({"status": "ok"})

    async def ready(self, _: web.Request) -> web.StreamResponse:
        """The host takes work."""
        if self._registry.draining:
            raise draining()
        return web.json_response({"status": "ok"})

    async def measured(self, _: web.Request) -> web.StreamResponse:
        """Metrics for Prometheus."""
        states = [one.state() for one in self._registry.conversations]
        for phase in Phase:
            metrics.sessions.labels(phase).set(sum(state.phase is phase for state in states))
        metrics.streams.set(sum(state.streams for state in states))
        metrics.memory.set(sum(state.rss_bytes or 0 for state in states))
        return web.Response(body=generate_latest(metrics.REGISTRY), content_type="text/plain", charset="utf-8")

    async def snapshot(self, request: web.Request) -> web.StreamResponse:
        """All sessions."""
        allow(request[CALLER], Scope.WATCH)
        return web.json_response(self._registry.snapshot().to_json())

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Whatever changes."""
        allow(request[CALLER], Scope.WATCH)
        response = web.StreamResponse(headers=stream_headers())
        await response.prepare(request)
        async with aclosing(self._news.follow(self._registry)) as events:
            async for event in events:
                await response.write(frame(*event) if event else b": heartbeat\n\n")
        return response

    async def activate(self, request: web.Request) -> web.StreamResponse:
        """Take a session."""
        allow(request[CALLER])
        if self._registry.draining:
            raise draining()
        wanted = _activation(await request.read())
        if uuid_of(request.match_info["id"]) != str(wanted.session_id):
            raise Problem(422, "invalid-activation", "`sessionId` must be the id in the path.")
        conversation = await self._registry.activate(wanted)
        return web.json_response(conversation.state().to_json())

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Let go of a session; to archive it takes its time, in which nobody needs to wait."""
        allow(request[CALLER])
        files = request.query.get("files", "delete")
        if files not in ("keep", "delete"):
            raise Problem(400, "bad-query", "`files` must be keep or delete.")
        archive = request.query.get("archive") == "true"
        removal = self._registry.removal(
            uuid_of(request.match_info["id"]), "keep" if files == "keep" else "delete", archive=archive
        )
        if archive:
            return web.Response(status=202)
        await asyncio.shield(removal)
        return web.Response(status=204)

    async def suspend(self, request: web.Request) -> web.StreamResponse:
        """Have a session put away: its process ended, conversation and workspace stored."""
        allow(request[CALLER])
        conversation = self._registry.get(uuid_of(request.match_info["id"]))
        if conversation is None:
            raise not_found()
        conversation.put_away(patient=request.query.get("wait", "true") == "true")
        return web.json_response(conversation.state().to_json(), status=202)


def application(registry: Registry, news: News, verifier: Verifier, client: aiohttp.ClientSession) -> web.Application:
    """Return the application; `client` calls the servers that agents start."""
    app = web.Application(middlewares=[problems, guard(verifier)], client_max_size=MAX_BODY)
    app.add_routes(HostRoutes(registry, news).routes())
    app.add_routes(SessionRoutes(registry, client).routes())
    return app


def _activation(body: bytes) -> Activation:
    """Return the document in a body; raises Problem."""
    try:
        return Activation.model_validate(json.loads(body))
    except ValidationError as error:
        raise unreadable(error) from None
    except (ValueError, RecursionError):
        raise Problem(400, "not-json", "The body must be JSON.") from None
