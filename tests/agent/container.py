"""The agent's container without a container: its files, its environment and its process, on this machine.

As root the CLI refuses to skip permission prompts unless it is told that it is in a sandbox; the run as the
image's own user is shown on the cluster.
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from agentsessions.api.termination import MAX_BYTES, TerminationReport

ROOT = Path(__file__).parents[2]
LINE_LIMIT = 8 * 1024 * 1024
Json = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """What is left of a container that has ended."""

    exit_code: int
    message: bytes
    events: list[Json]
    errors: str

    @property
    def report(self) -> TerminationReport:
        """The termination message as a report; it must be one, and within Kubernetes' bound."""
        assert len(self.message) <= MAX_BYTES
        return TerminationReport.model_validate(json.loads(self.message))

    @property
    def log(self) -> str:
        """All that was printed."""
        return json.dumps(self.events) + self.errors


class Container:
    """One session's volume, and the containers that come and go on it."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self.session_id = str(uuid4())
        self.session, self.state = folder / "session", folder / "state"
        self.workspace, self.tmp = folder / "workspace", folder / "tmp"
        self.termination = folder / "termination-log"
        self.environment = self._environment(base_url)
        for directory in (self.session, self.state, self.workspace, self.tmp):
            directory.mkdir()

    def _environment(self, base_url: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.tmp),
            "TMPDIR": str(self.tmp),
            "PYTHONPATH": f"{ROOT}/operator:{ROOT}/agent-image",
            "AGENTSESSIONS_SESSION_ID": self.session_id,
            "AGENTSESSIONS_SESSION_DIR": str(self.session),
            "AGENTSESSIONS_STATE_DIR": str(self.state),
            "AGENTSESSIONS_TERMINATION_LOG": str(self.termination),
            "CLAUDE_CONFIG_DIR": f"{self.state}/claude",
            "CLAUDE_CODE_MAX_RETRIES": "1",
            "ANTHROPIC_BASE_URL": base_url,
            "ANTHROPIC_API_KEY": "placeholder",
            **({"IS_SANDBOX": "1"} if os.geteuid() == 0 else {}),
        }

    def write(self, prompt: str | bytes, agent: Json | None = None, attempt: int = 0, **document: Any) -> None:
        """Write the files that the operator would mount, and empty the termination message."""
        whole = {"version": 1, "sessionId": self.session_id, "namespace": "team", "name": "task"}
        whole |= {"attempt": attempt, "agent": agent or {}, "contentLogging": "Omit"} | document
        self.session.joinpath("session.json").write_text(json.dumps(whole))
        self.session.joinpath("prompt").write_bytes(prompt.encode() if isinstance(prompt, str) else prompt)
        self.termination.write_bytes(b"")

    async def run(self, prompt: str | bytes, agent: Json | None = None, attempt: int = 0, **document: Any) -> Ended:
        """Run a container to its end."""
        self.write(prompt, agent, attempt, **document)
        return await self.start_and_wait()

    async def start_and_wait(self, extra: Mapping[str, str] | None = None) -> Ended:
        """Run a container on the files as they are."""
        async with self.started(extra) as running:
            return await running.ended()

    @asynccontextmanager
    async def started(self, extra: Mapping[str, str] | None = None) -> AsyncIterator["Running"]:
        """Start a container on the files as they are; it is gone at the end, whatever happens."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agentrunner", "run"),
            cwd=self.workspace,
            env={**self.environment, **(extra or {})},
            stdout=PIPE,
            stderr=PIPE,
            limit=LINE_LIMIT,
            start_new_session=True,
        )
        running = Running(process, self)
        try:
            yield running
        finally:
            await running.destroy()


class Running:
    """A container that runs."""

    def __init__(self, process: Process, container: Container) -> None:
        self._process = process
        self._container = container
        self.events: list[Json] = []

    async def event(self, name: str) -> Json:
        """Read the log up to the next event of that name and return it."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == name:
                return self.events[-1]
        raise AssertionError(f"the log ended without '{name}': {[event['event'] for event in self.events]}")

    def signal(self, number: signal.Signals) -> None:
        """Send the runner a signal, as the kubelet does; a kill takes the whole container."""
        if number == signal.SIGKILL:
            for pid in _descendants(self._process.pid):
                os.kill(pid, number)
        self._process.send_signal(number)

    async def handles_sigterm(self) -> None:
        """Wait until the runner has a handler for SIGTERM, long before it can say anything."""
        await handles_sigterm(self._process.pid)

    def cli(self) -> int:
        """Return the process id of the agent's CLI."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        found = [int(pid) for pid in children if "claude" in Path(f"/proc/{pid}/comm").read_text()]
        assert len(found) == 1, f"expected one CLI, found {found} among {children}"
        return found[0]

    async def ended(self) -> Ended:
        """Wait for the end, and return what is left."""
        out, err = await self._process.communicate()
        self.events += [json.loads(line) for line in out.splitlines()]
        message = self._container.termination.read_bytes()
        assert self._process.returncode is not None
        return Ended(self._process.returncode, message, self.events, err.decode())

    async def destroy(self) -> None:
        """Kill everything that is left, as the end of a container does."""
        for pid in [*_descendants(self._process.pid), self._process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self._process.communicate()


async def handles_sigterm(pid: int) -> None:
    """Wait until a process has a handler for SIGTERM."""
    while not _caught_signals(pid) & 1 << (signal.SIGTERM - 1):  # noqa: ASYNC110 - another process is waited for
        await asyncio.sleep(0.01)


def _caught_signals(pid: int) -> int:
    """Return the signals that a process has handlers for, as bits."""
    status = Path(f"/proc/{pid}/status").read_text()
    (caught,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return int(caught, 16)


def _descendants(pid: int) -> list[int]:
    """Return the processes below one, nearest first."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return children + [below for child in children for below in _descendants(child)]
