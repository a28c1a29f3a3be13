"""Streams that begin before their session has a host: how it comes along, and then what the host says.

Envoy cannot send a byte before it knows where to. So a client that asks to be told is led here, by a ticket: it gets
200 at once, an event `progress` whenever the session's condition Ready changes, and after that the host's own events,
byte for byte. The message goes to the host when the host is there, once, and not after the client has left.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from agentsessions.api.base import Json
from agentsessions.api.host import TOKEN_HEADER
from agentsessions.directory import metrics
from agentsessions.directory.delivery import MAX_BODY, Undelivered, deliver, too_large
from agentsessions.directory.entry import Entry, address
from agentsessions.directory.holding import Late
from agentsessions.directory.line import HEARTBEAT_SECONDS, Line
from agentsessions.directory.refusals import REFUSALS, Decision, later, refusal
from agentsessions.directory.tickets import Ticket, Tickets
from agentsessions.directory.whereabouts import Place, Standing, Whereabouts

_SAID = {"X-Agentsessions-Session": "session", "X-Agentsessions-Last-Turn": "lastTurn"}
"""Headers of a host's stream that come too late to be ours, and the field of the last `progress` that says the same."""


@dataclass(frozen=True, slots=True)
class Relay:
    """Carries streams that were led here."""

    whereabouts: Whereabouts
    entry: Entry
    tickets: Tickets
    http: aiohttp.ClientSession
    heartbeat: float = HEARTBEAT_SECONDS

    def application(self) -> web.Application:
        """Return the application; it belongs on loopback, and has to be told when a client leaves."""
        app = web.Application()
        app.add_routes(
            [
                web.post("/sessions/-/messages", self.stream),
                web.get("/sessions/-/events", self.stream, allow_head=False),
            ]
        )
        return app

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Carry one stream; without a ticket there is none."""
        ticket = self.tickets.take(request.headers.get(TOKEN_HEADER, ""), request.method)
        if ticket is None:
            return _answered(later("gateway", "The gateway does not know of this request any more: send it again."))
        outcome = "left"
        try:
            if (request.content_length or 0) > MAX_BODY:
                outcome = "refused"
                return _answered(too_large())
            line = await Line.opened(request, self.heartbeat)
            outcome = await self._carried(line, ticket)
            return line.response
        finally:
            metrics.relayed.labels(outcome).inc()
            self.tickets.close(ticket)

    async def _carried(self, line: Line, ticket: Ticket) -> str:
        """Carry one stream to its end; return how it ended."""
        try:
            try:
                place = await line.attend(self._arrived(line, ticket))
                ticket.seat.leave()
                return await self._relayed(line, ticket, place)
            except REFUSALS as error:
                await line.refuse(refusal(error))
            except Undelivered as error:
                await line.refuse(error.decision)
        except ConnectionResetError:
            return "left"
        return "refused"

    async def _arrived(self, line: Line, ticket: Ticket) -> Place:
        """Tell how the session comes along until it is there; raises REFUSALS."""
        said: Standing | None = None
        clock = asyncio.get_running_loop().time
        while True:
            if (now := self.whereabouts.standing(ticket.target)) != said:
                await line.say("progress", now._asdict())
                said = now
            place = await self.whereabouts.find(ticket.target, ticket.user, ticket.seat.since)
            if place is not None:
                return place
            if (left := ticket.until - clock()) <= 0:
                raise Late
            await self.whereabouts.world.change(min(left, self.heartbeat))

    async def _relayed(self, line: Line, ticket: Ticket, place: Place) -> str:
        """Send the request to the host and its stream to the client; raises Undelivered."""
        token = await line.attend(self.entry.token(ticket.target, place))
        answer = await line.attend(deliver(self.http, line.request, address(place), token))
        async with answer:
            await line.say("progress", _there(answer.headers))
            try:
                async for chunk in answer.content.iter_any():
                    await line.pass_on(chunk)
            except ConnectionResetError:
                raise
            except (aiohttp.ClientError, TimeoutError, OSError):
                line.cut()
                return "cut"
        return "done"


def _there(headers: Mapping[str, str]) -> Json:
    """Return the last `progress`: with what the session began is never left unsaid."""
    said = {field: headers[name] for name, field in _SAID.items() if name in headers}
    return {"reason": "Running", "message": "The session is there.", **said}


def _answered(found: Decision) -> web.Response:
    """Return a refusal of a stream that has not begun."""
    return web.json_response(
        found.body, status=found.status, headers=found.headers, content_type="application/problem+json"
    )
