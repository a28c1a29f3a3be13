"""The CLI of one session: started when it is needed, replaced when it has grown too old or too large, ended."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from claude_agent_sdk import Message, SessionStore

from agentrunner.events import EventLog as PodLog
from agentrunner.keeping.gaps import end_half_line
from agentrunner.serving import launch
from agentrunner.serving.bill import Bill
from agentrunner.serving.endings import ENDED, STARVED, word
from agentrunner.serving.places import SessionPlaces
from agentrunner.serving.process import Process, ProcessDied
from agentrunner.serving.processes import end_all
from agentrunner.serving.weights import Weight
from agentrunner.subagents import Subagents
from agentsessions.api.bounds import SessionLimits
from agentsessions.api.host import SessionSettings

CONNECT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Wiring:
    """Whom the CLI tells of its messages and of its end, and what it takes for a session store."""

    on_message: Callable[[Message], None]
    on_end: Callable[[Process], None]
    store: SessionStore | None = None


class Cli:
    """At most one process at a time; one caller at a time starts or ends it."""

    def __init__(self, session_id: str, places: SessionPlaces, bill: Bill, log: PodLog, wiring: Wiring) -> None:
        self.process: Process | None = None
        self.fork_from: str | None = None
        self.starts = 0
        self._session_id = session_id
        self._places = places
        self._bill = bill
        self._log = log
        self._wiring = wiring
        self._born = 0.0
        self._changing = asyncio.Lock()
        self._settings: SessionSettings | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the CLI, if it runs."""
        return self.process.pid if self.process is not None else None

    @property
    def is_alive(self) -> bool:
        """Whether there is a process that can be asked."""
        return self.process is not None and not self.process.ended

    @property
    def lost(self) -> Process | None:
        """The process if it ended by itself, and nobody has been told."""
        return self.process if self.process is not None and self.process.ended and not self.process.noted else None

    def noted(self, process: Process) -> tuple[str, str, int | None]:
        """Take note of a process that ended while nobody waited for its answer.

        Returns the reason, a message, and the exit code.
        """
        process.noted = True
        self._log.emit("cliEnded", sessionId=self._session_id)
        slug, text = STARVED if process.starved else ENDED
        return word(slug), text, process.exit_code

    async def connected(self, settings: SessionSettings, starting: Callable[[], None]) -> Process:
        """Return a live process; `starting` is called if one has to be started first. Raises ProcessDied."""
        async with self._changing:
            if self.process is not None:
                if not self.process.ended:
                    return self.process
                # It may live on, and be only out of reach; so may its tools. Two must never write.
                await self.process.close()
                await asyncio.to_thread(end_all, self._places.config)
            starting()
            try:
                self.process = await self._launched(settings)
            except Exception as error:
                self._log.emit("cliNotStarted", sessionId=self._session_id, error=type(error).__name__)
                raise ProcessDied from error
            self.starts, self._born, self._settings = self.starts + 1, time.monotonic(), settings
            return self.process

    async def release(self, *, wholly: bool = False) -> None:
        """End the process, if there is one; `wholly`: and all that it has started, before another one may start."""
        async with self._changing:
            process, self.process = self.process, None
            if process is not None:
                await process.close()
            if wholly:
                await asyncio.to_thread(end_all, self._places.config)

    def must_be_replaced(self, settings: SessionSettings, weight: Weight) -> str | None:
        """Return why the process is to be replaced at the end of a turn, in a word; None if it is not."""
        limits: SessionLimits = settings.limits
        if weight.is_over(limits.recycle_memory):
            return "memory"
        if limits.recycle_age_seconds is not None and time.monotonic() - self._born > limits.recycle_age_seconds:
            return "age"
        return "settings" if self._settings not in (None, settings) else None

    async def _launched(self, settings: SessionSettings) -> Process:
        """Start a process and read its meter."""
        await asyncio.to_thread(end_half_line, launch.transcript_path(self._places, self._session_id))
        options = await asyncio.to_thread(
            launch.options,
            settings.agent,
            self._places,
            self._session_id,
            self._log.cli_stderr,
            fork_from=self.fork_from,
            store=self._wiring.store,
        )
        process = Process(options, Subagents(settings.agent), self._wiring.on_message, self._wiring.on_end)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await process.connect()
            self._bill.process_started(await process.meter())
        except BaseException:
            await process.close()
            raise
        return process
