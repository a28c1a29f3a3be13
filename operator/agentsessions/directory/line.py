"""The client's end of a relayed stream: events of ours, a sign of life in each quiet while, and what the host says."""

import asyncio
import json
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from aiohttp import web

from agentsessions.api.base import Json
from agentsessions.directory.refusals import Decision

HEARTBEAT_SECONDS = 5.0
_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Line:
    """A stream that has begun. Every write raises ConnectionResetError once the client is gone.

    Events of ours have no id: a client that takes up the stream later does so after the last event of the session.
    """

    request: web.Request
    response: web.StreamResponse
    heartbeat: float

    @classmethod
    async def opened(cls, request: web.Request, heartbeat: float) -> Self:
        """Answer with 200 and nothing yet."""
        response = web.StreamResponse(headers=_HEADERS)
        # Each stream has a connection of its own, so that Envoy never sends a request into one that is closing.
        response.force_close()
        await response.prepare(request)
        return cls(request, response, heartbeat)

    async def say(self, kind: str, data: Json) -> None:
        """Send an event."""
        await self.pass_on(f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode())

    async def pass_on(self, chunk: bytes) -> None:
        """Send bytes of the host's stream."""
        await self.response.write(chunk)

    async def refuse(self, found: Decision) -> None:
        """Send the error that would have been the answer, had the stream not begun, and end the stream."""
        body = found.body or {}
        data: Json = {"message": body.get("detail", ""), "type": body.get("type", ""), "status": found.status}
        if (seconds := found.headers.get("Retry-After", "")).isdigit():
            data["retryAfterSeconds"] = int(seconds)
        await self.say("error", data)

    async def attend(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for something, with a sign of life in each quiet while; it is given up when the client leaves."""
        task = asyncio.create_task(work)
        try:
            while not (await asyncio.wait({task}, timeout=self.heartbeat))[0]:
                await self.pass_on(b": heartbeat\n\n")
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    def cut(self) -> None:
        """Break the stream off: half an answer must not look like a whole one."""
        if self.request.transport is not None:
            self.request.transport.abort()
