"""A session's events as server-sent events and over WebSocket: from a place that the client names, at its own pace."""

import asyncio
import json
from collections.abc import AsyncIterator

from aiohttp import WSCloseCode, WSMsgType, web

from agentrunner.serving.eventlog import Event, EventsLost
from agentrunner.serving.problems import Problem
from agentrunner.serving.talk import Talk
from agentrunner.serving.turns import Turn, parse_message
from agentsessions.api.host import PROBLEM_PREFIX, problem

HEARTBEAT_SECONDS = 15.0
_SESSION_HEADER = "X-Agentsessions-Session"
_LAST_TURN_HEADER = "X-Agentsessions-Last-Turn"
_LOST = {
    "message": "Events before this one are not kept any more: read the transcript for what was said.",
    "type": PROBLEM_PREFIX + "events-lost",
}


async def open_stream(request: web.Request, conversation: Talk) -> web.StreamResponse:
    """Send the head of a stream of events."""
    response = web.StreamResponse(headers=stream_headers(conversation))
    await response.prepare(request)
    return response


def stream_headers(conversation: Talk | None = None) -> dict[str, str]:
    """Return the headers of a stream; they also say with what the session began."""
    headers = {
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-cache",
        "X-Accel-Buffering": "no",
    }
    if conversation is not None:
        headers[_SESSION_HEADER] = conversation.beginning.lower()
        if conversation.interrupted:
            headers[_LAST_TURN_HEADER] = "interrupted"
    return headers


def frame(kind: str, data: str, event_id: str = "") -> bytes:
    """Return one server-sent event."""
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {kind}\ndata: {data}\n\n".encode()


async def one_turn(request: web.Request, conversation: Talk, turn: Turn) -> web.StreamResponse:
    """Stream one turn to its end. A client that hangs up does not end the turn."""
    response = await open_stream(request, conversation)
    log = conversation.events
    if turn.is_over and turn.incarnation != log.incarnation:
        # Done before this process began: its events are gone, that it is done is known.
        await response.write(frame("done", "{}"))
        return response
    conversation.entered(+1)
    try:
        async for event in _events(conversation, turn.after):
            if event is None:
                await response.write(b": heartbeat\n\n")
            elif event.turn == turn.number:
                await response.write(frame(event.kind, event.data, log.id_of(event.number)))
                if event.kind in ("done", "error"):
                    break
    except EventsLost:
        await response.write(frame("error", json.dumps(_LOST)))
    except ConnectionResetError:
        pass
    finally:
        conversation.entered(-1)
    return response


async def all_turns(request: web.Request, conversation: Talk) -> web.StreamResponse:
    """Stream everything from now on, or from where the client was, until one of both leaves."""
    response = await open_stream(request, conversation)
    conversation.entered(+1)
    try:
        async for kind, data, event_id in _from(conversation, last_event_id(request)):
            await response.write(frame(kind, data, event_id) if kind else b": heartbeat\n\n")
    except ConnectionResetError:
        pass
    finally:
        conversation.entered(-1)
    return response


async def websocket(request: web.Request, conversation: Talk, limit: int) -> web.WebSocketResponse:
    """Exchange messages and events over one connection."""
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS, max_msg_size=limit, protocols=("agentsessions.v1",))
    await socket.prepare(request)
    conversation.entered(+1)
    sender = asyncio.create_task(_send_events(socket, conversation, last_event_id(request)))
    try:
        async for frame_in in socket:
            if frame_in.type is WSMsgType.TEXT:
                await _take(socket, conversation, frame_in.data)
    finally:
        sender.cancel()
        conversation.entered(-1)
    return socket


def last_event_id(request: web.Request) -> str | None:
    """Return where the client was: EventSource says it in a header, WebSocket clients cannot."""
    return request.headers.get("Last-Event-ID") or request.query.get("lastEventId")


async def _send_events(socket: web.WebSocketResponse, conversation: Talk, since: str | None) -> None:
    try:
        async for kind, data, event_id in _from(conversation, since):
            if kind:
                await socket.send_str(f'{{"id": "{event_id}", "event": "{kind}", "data": {data}}}')
    except ConnectionResetError:
        return
    await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the session left this host")


async def _take(socket: web.WebSocketResponse, conversation: Talk, text: str) -> None:
    """Do what a client's frame asks for; what is wrong with it is told, and the connection stays."""
    try:
        kind = _kind(text)
        if kind == "interrupt":
            await conversation.interrupt()
        elif kind == "message":
            prompt, key = parse_message(text)
            conversation.submit(prompt, key, reject_when_busy=False)
        else:
            raise Problem(400, "unknown-frame", 'A frame\'s `type` must be "message" or "interrupt".')
    except Problem as error:
        body = problem(error.slug, error.slug, error.status, error.detail) | {"message": error.detail}
        await socket.send_json({"id": "", "event": "error", "data": body})


def _kind(text: str) -> str:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise Problem(400, "not-json", "A frame must be a JSON object.") from None
    return str(body.get("type", "")) if isinstance(body, dict) else ""


async def _from(conversation: Talk, since: str | None) -> AsyncIterator[tuple[str, str, str]]:
    """Yield kind, data and id from a place on; an empty kind is a heartbeat. What is lost is said, once each time."""
    log = conversation.events
    place = log.last
    if since is not None:
        try:
            place = log.number_of(since)
            log.after(place)
        except EventsLost:
            yield "error", json.dumps(_LOST), ""
            place = log.oldest - 1
    try:
        async for event in _events(conversation, place):
            yield (event.kind, event.data, log.id_of(event.number)) if event else ("", "", "")
    except EventsLost:
        yield "error", json.dumps(_LOST), ""


async def _events(conversation: Talk, place: int) -> AsyncIterator[Event | None]:
    """Yield events after `place` as they come, None for each quiet while; ends with the session. Raises EventsLost."""
    log = conversation.events
    while True:
        fresh = log.after(place)
        for event in fresh:
            yield event
            place = event.number
        if not fresh:
            if not await log.wait(place, HEARTBEAT_SECONDS):
                return
            if log.last <= place:
                yield None
