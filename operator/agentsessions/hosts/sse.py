"""Reads server-sent events: as much of the format as hosts use."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

MAX_EVENT_BYTES = 16 * 2**20
"""A host that sends more without an end is not one of ours."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event."""

    kind: str
    data: str


async def server_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[ServerEvent]:
    """Yield the events of a stream; comments, which are heartbeats, and unfinished ones are left out."""
    pending = b""
    async for chunk in chunks:
        pending = (pending + chunk).replace(b"\r\n", b"\n")
        if len(pending) > MAX_EVENT_BYTES:
            raise ValueError("an event has no end")
        *blocks, pending = pending.split(b"\n\n")
        for block in blocks:
            if event := _event(block.decode(errors="replace")):
                yield event


def _event(block: str) -> ServerEvent | None:
    """Return the event of one block of lines, if it has data."""
    kind, data = "message", []
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        if name == "event":
            kind = value.removeprefix(" ")
        elif name == "data":
            data.append(value.removeprefix(" "))
    return ServerEvent(kind, "\n".join(data)) if data else None
