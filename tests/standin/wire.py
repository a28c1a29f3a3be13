"""A step as the Messages API says it: one message, or a stream of server-sent events with pauses. Pure."""

import json
from collections.abc import Iterator
from typing import Any

from standin.script import Step, Tokens

Json = dict[str, Any]
Timed = tuple[float, Json]
"""Seconds to wait, then the event to send."""

_CHUNK = 65536


def blocks(step: Step, serial: str) -> list[Json]:
    """Return the content blocks of an answer; `serial` makes tool ids unique."""
    out: list[Json] = []
    if step.thinking is not None:
        out.append({"type": "thinking", "thinking": step.thinking, "signature": "c3RhbmQtaW4="})
    if step.text is not None or not step.calls:
        out.append({"type": "text", "text": step.text if step.text is not None else "One piece at a time. " * 10})
    for n, call in enumerate(step.calls):
        out.append({"type": "tool_use", "id": f"toolu_{serial}_{n}", "name": call.tool, "input": call.input})
    return out


def usage(step: Step, request: Json) -> Json:
    """Return the usage of an answer: as scripted, else about four characters to a token."""
    said = step.usage or Tokens(
        input=max(1, len(json.dumps(request.get("messages", []))) // 4),
        output=max(1, len(json.dumps(blocks(step, ""))) // 4),
    )
    return {
        "input_tokens": said.input,
        "output_tokens": said.output,
        "cache_read_input_tokens": said.cache_read,
        "cache_creation_input_tokens": said.cache_creation,
    }


def _stop_reason(step: Step) -> str:
    return step.stop_reason or ("tool_use" if step.calls else "end_turn")


def message(step: Step, request: Json, serial: str) -> Json:
    """Return the whole answer, for a request without streaming."""
    return {
        **_head(request, serial),
        "content": blocks(step, serial),
        "stop_reason": _stop_reason(step),
        "usage": usage(step, request),
    }


def _head(request: Json, serial: str) -> Json:
    return {
        "id": f"msg_{serial}",
        "type": "message",
        "role": "assistant",
        "model": request.get("model", "stand-in"),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def events(step: Step, request: Json, serial: str) -> Iterator[Timed]:
    """Yield the events of a streamed answer; a `cut` step ends in the middle of its content."""
    counts = usage(step, request)
    yield 0.0, {"type": "message_start", "message": {**_head(request, serial), "usage": {**counts, "output_tokens": 1}}}
    for index, block in enumerate(blocks(step, serial)):
        yield from _block_events(step, index, block)
        if step.cut:
            return
    stop = {"stop_reason": _stop_reason(step), "stop_sequence": None}
    yield 0.0, {"type": "message_delta", "delta": stop, "usage": counts}
    yield 0.0, {"type": "message_stop"}


def _block_events(step: Step, index: int, block: Json) -> Iterator[Timed]:
    empty, deltas = _deltas(step, block)
    yield 0.0, {"type": "content_block_start", "index": index, "content_block": empty}
    for wait, delta in deltas:
        yield wait, {"type": "content_block_delta", "index": index, "delta": delta}
    if not step.cut:
        yield 0.0, {"type": "content_block_stop", "index": index}


def _deltas(step: Step, block: Json) -> tuple[Json, list[Timed]]:
    """Return the block as it starts, and the timed pieces that fill it."""
    match block["type"]:
        case "thinking":
            pieces: list[Timed] = [(0.0, {"type": "thinking_delta", "thinking": block["thinking"]})]
            pieces.append((0.0, {"type": "signature_delta", "signature": block["signature"]}))
            return {"type": "thinking", "thinking": "", "signature": ""}, pieces
        case "text":
            return {"type": "text", "text": ""}, [
                (wait, {"type": "text_delta", "text": piece}) for wait, piece in _text_pieces(step, block["text"])
            ]
    body = json.dumps(block["input"])
    parts = [body[i : i + _CHUNK] for i in range(0, len(body), _CHUNK)]
    return {**block, "input": {}}, [(0.0, {"type": "input_json_delta", "partial_json": part}) for part in parts]


def _text_pieces(step: Step, text: str) -> list[tuple[float, str]]:
    if step.slow is None:
        return [(0.0, text[i : i + _CHUNK]) for i in range(0, len(text), _CHUNK)]
    size = max(1, -(-len(text) // step.slow.chunks))
    return [(step.slow.seconds, text[i : i + size]) for i in range(0, len(text), size)]


def encode(event: Json) -> bytes:
    """Return one server-sent event."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
