"""The HTTP server: routes, the stream, and the clock. It never logs or repeats what a request contains."""

import asyncio
import json
from typing import Any

from aiohttp import web

from standin import wire
from standin.conversation import Position, last_tool_result, locate, prompt_digests
from standin.ledger import Ledger
from standin.replies import choose, error_body, quoting, side_answer
from standin.script import Failure, ScriptError, Step

SESSION_HEADER = "X-Claude-Code-Session-Id"
LEDGER = web.AppKey("ledger", Ledger)
_MAX_BODY = 256 * 1024 * 1024


def make_app() -> web.Application:
    """Return the stand-in as an application with empty counters."""
    app = web.Application(client_max_size=_MAX_BODY)
    app[LEDGER] = Ledger()
    app.add_routes(
        [
            web.post("/v1/messages", messages),
            web.post("/v1/messages/count_tokens", count_tokens),
            web.get("/_requests", requests_seen),
            web.get("/healthz", alive),
            web.get("/api/hello", alive),
            web.get("/", alive),
        ]
    )
    return app


async def alive(_: web.Request) -> web.Response:
    """Answer a probe."""
    return web.json_response({"ok": True})


async def requests_seen(request: web.Request) -> web.Response:
    """Answer with the number of requests by session."""
    return web.json_response(request.app[LEDGER].as_json())


async def count_tokens(request: web.Request) -> web.Response:
    """Answer with about four characters to a token."""
    return web.json_response({"input_tokens": max(1, len(await request.read()) // 4)})


async def messages(request: web.Request) -> web.StreamResponse:
    """Answer one Messages API request as its conversation's script says."""
    session = request.headers.get(SESSION_HEADER, "")
    try:
        body = json.loads(await request.read())
        step = _step_for(request.app[LEDGER], session, body, request.remote or "")
    except (json.JSONDecodeError, ScriptError) as error:
        return _error(Failure(status=400, type="invalid_request_error", message=str(error)))
    if step.delay:
        await asyncio.sleep(step.delay)
    if step.error is not None:
        return _error(step.error)
    serial = request.app[LEDGER].next_serial()
    if not body.get("stream"):
        return web.json_response(wire.message(step, body, serial))
    return await _stream(request, step, body, serial)


def _step_for(ledger: Ledger, session: str, body: dict[str, Any], address: str) -> Step:
    side = side_answer(body)
    if side is not None:
        return Step(text=side)
    position: Position = locate(body.get("messages", []))
    seen = body.get("messages", [])
    ledger.note_request(session, len(seen), position.answered, prompt_digests(seen), address)
    names = frozenset(str(tool.get("name")) for tool in body.get("tools") or [])
    step = choose(position, names, lambda index, times: ledger.take_error(session, position.turn, index, times))
    if step.error is not None:
        ledger.note_error(session)
    return quoting(step, last_tool_result(body.get("messages", [])))


def _error(failure: Failure) -> web.Response:
    headers = {} if failure.retry_after is None else {"retry-after": str(failure.retry_after)}
    return web.json_response(error_body(failure), status=failure.status, headers=headers)


async def _stream(request: web.Request, step: Step, body: dict[str, Any], serial: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    try:
        for wait, event in wire.events(step, body, serial):
            if wait:
                await asyncio.sleep(wait)
            await response.write(wire.encode(event))
    except ConnectionResetError:
        # The CLI hangs up when a turn is interrupted; that is its right, not a failure of ours.
        return response
    if step.cut and request.transport is not None:
        request.transport.abort()
    return response
