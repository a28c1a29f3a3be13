"""A client of a session that runs in a pod of its own."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from agent.container import Container, Json, Running
from agent.host import ControlPlane, Event, _free_port, events
from agentsessions.api.host import PROBLEM_PREFIX, TOKEN_HEADER, Scope

SPENT = {"input": 1000, "output": 100}


def bash(command: str) -> Json:
    """A call of the shell by the agent."""
    return {"tool": "Bash", "input": {"command": command}, "usage": SPENT}


def answer(text: str) -> Json:
    """An answer in words."""
    return {"text": text, "usage": SPENT}


async def rest(stream: AsyncIterator[Event]) -> list[Event]:
    """Return the events of a stream up to its end."""
    return [event async for event in stream]


class Talker:
    """A client of one running task."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.plane = ControlPlane("pod-uid")
        self.port = _free_port()
        self.gate = container.tmp / "gate"
        container.environment |= {
            "AGENTSESSIONS_POD_UID": self.plane.pod_uid,
            "AGENTSESSIONS_PUBLIC_KEYS": self.plane.keys.public_keys,
            "AGENTSESSIONS_PORT": str(self.port),
        }

    @property
    def waits(self) -> Json:
        """A tool call that lasts until the gate opens."""
        return bash(f"until [ -e {self.gate} ]; do sleep 0.05; done")

    def open_gate(self) -> None:
        """Let the agent go on."""
        self.gate.touch()

    @asynccontextmanager
    async def started(self, prompt: str, agent: Json | None = None, attempt: int = 0) -> AsyncIterator[Running]:
        """Start the task, and wait until its agent is at work."""
        self.container.write(prompt, agent, attempt)
        async with self.container.started() as running:
            await running.event("toolUse")
            yield running

    @asynccontextmanager
    async def call(self, verb: str, tail: str, token: str | None = None, **options: Any) -> AsyncIterator[Any]:
        """Call the session."""
        token = self.plane.token(Scope.SESSION, self.container.session_id) if token is None else token
        url = f"http://127.0.0.1:{self.port}/sessions/{self.container.session_id}{tail}"
        async with (
            aiohttp.ClientSession() as http,
            http.request(verb, url, headers={TOKEN_HEADER: token}, **options) as reply,
        ):
            yield reply

    @asynccontextmanager
    async def said(self, prompt: str) -> AsyncIterator[AsyncIterator[Event]]:
        """Send a message that must be taken; yield the events of its turn."""
        async with self.call("POST", "/messages", json={"prompt": prompt}) as reply:
            assert reply.status == 200, await reply.text()
            yield events(reply)

    async def refusal(self, verb: str, tail: str, **options: Any) -> tuple[int, str]:
        """Make a call that must be refused; return status and problem."""
        async with self.call(verb, tail, **options) as reply:
            body = json.loads(await reply.text())
            return reply.status, str(body["type"]).removeprefix(PROBLEM_PREFIX)

    async def state(self) -> Json:
        """Return how the session stands."""
        async with self.call("GET", "") as reply:
            assert reply.status == 200, await reply.text()
            found: Json = await reply.json()
            return found
