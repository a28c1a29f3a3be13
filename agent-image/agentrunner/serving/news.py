"""What the host tells of its sessions to those who follow it: everything at first, then whatever has changed.

A session that changes many times in a second is told of once: its state counts, not the way there.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from agentrunner.serving.registry import Registry
from agentrunner.waiting import within
from agentsessions.api.host import HostEvent

PAUSE_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0


@dataclass(eq=False)
class _Follower:
    """One who follows: the sessions that it has not been told of yet."""

    due: dict[str, None] = field(default_factory=dict)
    host: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)


class News:
    """Brings changes to followers; each at its own pace."""

    def __init__(self) -> None:
        self._followers: set[_Follower] = set()

    def session_changed(self, session_id: str) -> None:
        """Take note that a session changed, came or went."""
        for follower in self._followers:
            follower.due[session_id] = None
            follower.news.set()

    def host_changed(self) -> None:
        """Take note that the host itself changed."""
        for follower in self._followers:
            follower.host = True
            follower.news.set()

    async def follow(self, registry: Registry) -> AsyncGenerator[tuple[str, str] | None, None]:
        """Yield events as kind and JSON; None when it is time for a heartbeat."""
        follower = _Follower()
        self._followers.add(follower)
        try:
            yield HostEvent.SNAPSHOT, json.dumps(registry.snapshot().to_json())
            while True:
                if not await within(HEARTBEAT_SECONDS, follower.news.wait()):
                    yield None
                    continue
                follower.news.clear()
                for event in _due(follower, registry):
                    yield event
                await asyncio.sleep(PAUSE_SECONDS)
        finally:
            self._followers.discard(follower)


def _due(follower: _Follower, registry: Registry) -> list[tuple[str, str]]:
    """Return what a follower has not been told of, as things stand now."""
    out: list[tuple[str, str]] = []
    if follower.host:
        out.append((HostEvent.HOST, _text({"draining": registry.draining})))
    for session_id in follower.due:
        conversation = registry.get(session_id)
        if conversation is None:
            out.append((HostEvent.REMOVED, _text({"sessionId": session_id})))
        else:
            out.append((HostEvent.SESSION, _text(conversation.state().to_json())))
    follower.due, follower.host = {}, False
    return out


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value)
