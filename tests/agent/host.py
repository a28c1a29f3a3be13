"""A session host without a cluster: the program as a pod starts it, a control plane that signs, and its clients."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import jwt

from agent.container import LINE_LIMIT, ROOT, _descendants
from agentsessions.api.host import ALGORITHM, ISSUER, TOKEN_HEADER, Scope
from agentsessions.hosts.keys import KeyRing, key_ring, new_key

Json = dict[str, Any]
PATIENCE = 60.0
OWN_MOUNTS = ("unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]))
"""Words that make a command see what it mounts, and nobody else."""


class ControlPlane:
    """Signs whatever a test wants to show to a host, right or wrong."""

    def __init__(self, pod_uid: str) -> None:
        self.pod_uid = pod_uid
        self.keys: KeyRing = key_ring(new_key())

    def token(self, scope: Scope | str, session_id: str | None = None, **claims: Any) -> str:
        """Return a token; `claims` replace or add to what belongs in it, None removes."""
        now = int(time.time())
        payload = {"iss": ISSUER, "aud": self.pod_uid, "scope": str(scope), "iat": now, "exp": now + 60}
        payload |= {"sub": session_id} if session_id else {}
        payload = {name: value for name, value in (payload | claims).items() if value is not None}
        return jwt.encode(payload, self.keys.signing, algorithm=ALGORITHM, headers={"kid": self.keys.key_id})


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    kind: str
    data: Json
    id: str = ""


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """Yield the events of a stream; comments are passed over."""
    fields: dict[str, str] = {}
    async for raw in answer.content:
        line = raw.decode().rstrip("\n")
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and fields:
            yield Event(fields.get("event", ""), json.loads(fields["data"]), fields.get("id", ""))
            fields = {}


def texts(seen: list[Event]) -> list[str]:
    """Return what the agent said in the events of a turn."""
    said = [e.data for e in seen if e.kind == "message" and e.data["type"] == "assistant"]
    return [block["text"] for message in said for block in message["content"] if block["type"] == "text"]


class Host:
    """One host's volume, and the processes that come and go on it."""

    def __init__(self, folder: Path, base_url: str, *, seen_as: Path | None = None, **document: Any) -> None:
        self.folder = folder
        self.seen_as = seen_as or folder
        self.plane = ControlPlane(str(uuid4()))
        self.port = _free_port()
        self.document: Json = {
            "version": 1,
            "namespace": "team",
            "pool": "chat",
            "poolUid": str(uuid4()),
            "sessionsPerHost": 8,
        } | document
        for name in ("session", "state", "workspace", "tmp"):
            (folder / name).mkdir()
        self.environment = self._environment(base_url, self.seen_as)
        self.http: aiohttp.ClientSession | None = None
        self.process: Process | None = None
        self.log: list[Json] = []
        self._reader: asyncio.Task[None] | None = None

    def _environment(self, base_url: str, folder: Path) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "tmp" / "home"),
            "TMPDIR": str(folder / "tmp"),
            "PYTHONPATH": f"{ROOT}/operator:{ROOT}/agent-image:{ROOT}/tests",
            "AGENTSESSIONS_POD_UID": self.plane.pod_uid,
            "AGENTSESSIONS_POD_NAME": "chat-0",
            "AGENTSESSIONS_PUBLIC_KEYS": self.plane.keys.public_keys,
            "AGENTSESSIONS_SESSION_DIR": str(folder / "session"),
            "AGENTSESSIONS_STATE_DIR": str(folder / "state"),
            "AGENTSESSIONS_GRACE_SECONDS": "50",
            "AGENTSESSIONS_PORT": str(self.port),
            "CLAUDE_CODE_MAX_RETRIES": "1",
            "ANTHROPIC_BASE_URL": base_url,
            "ANTHROPIC_API_KEY": "placeholder",
            **({"IS_SANDBOX": "1"} if os.geteuid() == 0 else {}),
        }

    async def start(self) -> None:
        """Start a process on the volume and wait until it answers."""
        process = await self.begin()
        async with asyncio.timeout(PATIENCE):
            while not await self._is_up():
                assert process.returncode is None, f"the host ended with {process.returncode}: {self.log}"
                await asyncio.sleep(0.05)

    async def begin(self) -> Process:
        """Start a process on the volume, which loads what it needs first."""
        (self.folder / "session" / "host.json").write_text(json.dumps(self.document))
        self.http = self.http or aiohttp.ClientSession(f"http://127.0.0.1:{self.port}")
        self.process = await asyncio.create_subprocess_exec(
            *self._command(),
            cwd="/",
            env=self.environment,
            stdout=PIPE,
            limit=LINE_LIMIT,
            start_new_session=True,
        )
        self._reader = asyncio.create_task(self._read(self.process))
        return self.process

    def _command(self) -> list[str]:
        """Return the command line; the volume of another host is out of sight of one that is seen in its place."""
        run = f'cd "$0/workspace" && exec {sys.executable} -m agentrunner serve'
        if self.seen_as == self.folder:
            return ["sh", "-c", run, str(self.folder)]
        return [*OWN_MOUNTS, "sh", "-c", f'mount --bind "$1" "$0" && {run}', str(self.seen_as), str(self.folder)]

    async def kill(self) -> None:
        """Kill the host and everything that it has started, as the death of a container does.

        The host first: it must not live to tell of the death of the others.
        """
        assert self.process is not None
        for pid in [self.process.pid, *_descendants(self.process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self.process.wait()

    async def vanish(self) -> None:
        """Kill the host and lose its disk, as the loss of a pod does; what starts next is another pod's."""
        await self.kill()
        for name in ("state", "workspace", "tmp"):
            shutil.rmtree(self.folder / name)
            (self.folder / name).mkdir()

    async def terminate(self) -> None:
        """Tell the host to stop, as the kubelet does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        """Wait for the end of the process."""
        assert self.process is not None
        return await asyncio.wait_for(self.process.wait(), PATIENCE)

    async def destroy(self) -> None:
        """Leave nothing behind."""
        if self.process is not None and self.process.returncode is None:
            await self.kill()
        if self._reader is not None:
            await self._reader
        if self.http is not None:
            await self.http.close()

    @asynccontextmanager
    async def call(
        self, verb: str, path: str, token: str | None = None, *, headers: Json | None = None, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Call the host, as the control plane unless another token is given."""
        assert self.http is not None
        shown = {TOKEN_HEADER: self.plane.token(Scope.HOST) if token is None else token} | (headers or {})
        async with self.http.request(verb, path, headers=shown, **options) as answer:
            yield answer

    async def json(self, verb: str, path: str, token: str | None = None, **options: Any) -> tuple[int, Json]:
        """Call the host and return status and body."""
        async with self.call(verb, path, token, **options) as answer:
            text = await answer.read()
            return answer.status, json.loads(text) if text else {}

    async def give(self, session_id: str | None = None, **activation: Any) -> "Talk":
        """Give the host a session, a new one unless an id is named; it must take it."""
        talk = Talk(self, session_id or str(uuid4()))
        status, body = await self.activate(talk.session_id, **activation)
        assert status == 200, body
        return talk

    async def activate(self, session_id: str, **activation: Any) -> tuple[int, Json]:
        """Offer the host a session; return status and body of its answer."""
        document = {"version": 1, "sessionId": session_id, "namespace": "team", "name": f"s-{session_id[:8]}"}
        return await self.json("PUT", f"/sessions/{session_id}", json=document | activation)

    async def _is_up(self) -> bool:
        assert self.http is not None
        try:
            async with self.http.get("/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self.log.append(json.loads(line))


class Talk:
    """One session as its client sees it."""

    def __init__(self, host: Host, session_id: str) -> None:
        self.host = host
        self.session_id = session_id

    @property
    def token(self) -> str:
        """A token for this session."""
        return self.host.plane.token(Scope.SESSION, self.session_id)

    @asynccontextmanager
    async def open(self, verb: str, tail: str = "", **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """Call the session."""
        async with self.host.call(verb, f"/sessions/{self.session_id}{tail}", self.token, **options) as answer:
            yield answer

    async def state(self) -> Json:
        """Return how the session stands."""
        async with self.open("GET") as answer:
            assert answer.status == 200, await answer.text()
            body: Json = await answer.json()
            return body

    async def say(self, prompt: str, **headers: str) -> list[Event]:
        """Send a message and return all events of its turn."""
        async with self.open("POST", "/messages", json={"prompt": prompt}, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return [event async for event in events(answer)]

    async def refused(self, prompt: Any = "hello", **headers: str) -> tuple[int, Json]:
        """Send a message that must not be taken; return status and problem."""
        async with self.open("POST", "/messages", json={"prompt": prompt}, headers=headers) as answer:
            assert answer.status >= 400, await answer.text()
            return answer.status, json.loads(await answer.text())

    async def until(self, **wanted: Any) -> Json:
        """Wait until the session's state says so."""
        async with asyncio.timeout(PATIENCE):
            while True:
                state = await self.state()
                if all(state.get(name) == value for name, value in wanted.items()):
                    return state
                await asyncio.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
