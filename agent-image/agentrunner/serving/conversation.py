"""One session on a host: its CLI comes and goes, its conversation goes on. One turn at a time."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

from claude_agent_sdk import Message, ResultMessage

from agentrunner.events import EventLog as PodLog
from agentrunner.serving import launch
from agentrunner.serving.bill import Bill
from agentrunner.serving.eventlog import EventLog
from agentrunner.serving.history import History
from agentrunner.serving.places import SessionPlaces
from agentrunner.serving.process import Process, ProcessDied
from agentrunner.serving.processes import kill_all, of_session
from agentrunner.serving.turns import Turn, Turns
from agentrunner.serving.weights import Weight, weigh
from agentrunner.serving.wire import as_json
from agentsessions.api.host import (
    PROBLEM_PREFIX,
    Beginning,
    HostSession,
    Origin,
    Phase,
    SessionFault,
    SessionSettings,
)
from agentsessions.api.status import Usage

CONNECT_SECONDS = 300.0
INTERRUPT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a session is."""

    session_id: str
    namespace: str
    name: str
    origin: Origin


class Conversation:
    """A session that a host holds. `on_change` is called whenever `state` would answer differently."""

    def __init__(
        self,
        who: Identity,
        settings: SessionSettings,
        places: SessionPlaces,
        *,
        max_queued: int,
        known_usage: Usage | None,
        log: PodLog,
        on_change: Callable[[str], None],
    ) -> None:
        self.who = who
        self.settings = settings
        self.places = places
        places.make()
        self.events = EventLog(token_hex(6))
        self.turns = Turns(places.own / "turns.json", max_queued)
        self.beginning = Beginning.FRESH
        self.streams = 0
        self._bill = Bill(places.own / "usage.json", known_usage)
        self._history = History(launch.transcript_path(places, who.session_id))
        self._log = log
        self._on_change = on_change
        self._process: Process | None = None
        self._born = 0.0
        self._connecting = asyncio.Lock()
        self._phase = Phase.SUSPENDED
        self._fault: SessionFault | None = None
        self._weight = Weight()
        self._restarts = -1
        self._activity: datetime | None = None
        self._transcript = self._history.facts()
        self._stale = False
        self._worker = asyncio.create_task(self._work(), name=f"session {who.session_id}")

    @property
    def has_history(self) -> bool:
        """Whether there is a conversation on this host's disk."""
        return launch.can_resume(self.places, self.who.session_id)

    def state(self) -> HostSession:
        """Return how the session stands."""
        return HostSession.model_validate(
            {
                "session_id": self.who.session_id,
                "namespace": self.who.namespace,
                "name": self.who.name,
                "origin": self.who.origin,
                "phase": self._phase,
                "beginning": self.beginning,
                "prompts": self.turns.count,
                "queued": self.turns.queued,
                "streams": self.streams,
                "pid": self._process.pid if self._process else None,
                "rss_bytes": self._weight.memory_bytes,
                "cpu_seconds": self._weight.cpu_seconds,
                "restarts": max(0, self._restarts),
                "usage": self._bill.usage,
                "transcript": self._transcript,
                "last_activity_time": self._activity,
                "fault": self._fault,
            }
        )

    def submit(self, prompt: str, key: str | None, *, reject_when_busy: bool) -> Turn:
        """Take a message; raises Problem. What comes of it is in `events`, from its number `turn.after` on."""
        log = self.events
        turn = self.turns.submit(
            prompt, key, reject_when_busy=reject_when_busy, after=log.last, incarnation=log.incarnation
        )
        self._changed()
        return turn

    def change(self, settings: SessionSettings) -> None:
        """Run the session by other settings, from its next turn on: most are fixed when a process starts."""
        self._stale = self._stale or settings != self.settings
        self.settings = settings

    async def start(self) -> None:
        """Have a process ready ahead of the first message; a failure is told by `state`, and by the next message."""
        try:
            await self._connected()
        except ProcessDied:
            return

    async def interrupt(self) -> bool:
        """End the running turn; return whether there was one."""
        process = self._process
        if self.turns.running is None or process is None:
            return False
        await process.interrupt()
        return True

    async def suspend(self) -> None:
        """End the process once nothing runs or waits."""
        while self.turns.running is not None:
            await self.turns.running.ended.wait()
        await self._release(Phase.SUSPENDED)

    def discard(self) -> None:
        """Forget a session that has not begun; its files stay."""
        self._worker.cancel()
        self.events.close()

    async def close(self, reason: str = "session-closed") -> None:
        """End the session on this host: a running turn is interrupted, waiting ones are told."""
        for turn in self.turns.drop_waiting():
            self._error(turn, reason, "The session left this host before the message was read.")
        running = self.turns.running
        if running is not None:
            await self.interrupt()
            try:
                await asyncio.wait_for(running.ended.wait(), INTERRUPT_SECONDS)
            except TimeoutError:
                self._error(running, reason, "The session left this host while it answered.")
                self.turns.end(running, "interrupted")
        self._worker.cancel()
        await self._release(Phase.SUSPENDED)
        self.events.close()

    def weigh(self) -> None:
        """Take note of memory and CPU time of the process and what it has started."""
        before, pid = self._weight, self._process.pid if self._process else None
        self._weight = weigh(pid)
        if self._weight.differs(before):
            self._changed()

    def entered(self, by: int) -> None:
        """Count a client that follows the session, or one that left (-1)."""
        self.streams += by
        self._changed()

    async def _work(self) -> None:
        """Answer one message after another."""
        while True:
            turn = await self.turns.next()
            turn.after = self.events.last
            try:
                await self._answer(turn)
            except Exception as error:
                self._log.emit("turnFailed", error=type(error).__name__)
                self._failed(turn, "host-failed", "The host failed while it answered.", Phase.FAILED)
            self._changed()

    async def _answer(self, turn: Turn) -> None:
        """Answer one message, whatever happens to the process."""
        self._phase, self._activity = Phase.RUNNING, _now()
        self._changed()
        try:
            process = await self._connected(running=True)
        except ProcessDied:
            self._failed(turn, "agent-not-started", "The agent's process could not be started.", Phase.FAILED)
            return
        try:
            result = await process.ask(turn.prompt, turn.uuid)
        except ProcessDied:
            text = "The agent's process died. What it had done so far is kept; send a message to go on."
            await self._release(Phase.SUSPENDED)
            # The tool that it ran lives on without it: resumed, the agent would meet its own past self at work.
            await asyncio.to_thread(lambda: kill_all(of_session(self.places.config, None)))
            self._failed(turn, "agent-crashed", text, Phase.SUSPENDED)
            return
        await self._ended(turn, result)

    async def _ended(self, turn: Turn, result: ResultMessage) -> None:
        """Close the books on a turn, then say that it is done."""
        self._bill.turn_ended(result)
        self._transcript = await asyncio.to_thread(self._history.facts) or self._transcript
        self._activity, self._phase, self._fault = _now(), Phase.IDLE, None
        self.turns.end(turn, "done")
        self.events.append("done", {}, turn.number)
        self._log.emit("turnEnded", sessionId=self.who.session_id, turns=result.num_turns, isError=result.is_error)
        self.weigh()
        await self._recycle()

    async def _recycle(self) -> None:
        """Replace a process that has grown too large or too old, or whose settings have changed."""
        limits, age = self.settings.limits, time.monotonic() - self._born
        heavy = self._weight.is_over(limits.recycle_memory)
        old = limits.recycle_age_seconds is not None and age > limits.recycle_age_seconds
        if not (heavy or old or self._stale):
            return
        reason = "memory" if heavy else "age" if old else "settings"
        self._log.emit("processRecycled", sessionId=self.who.session_id, reason=reason)
        await self._release(Phase.SUSPENDED)
        if not self.turns.queued:
            await self.start()

    async def _connected(self, *, running: bool = False) -> Process:
        """Return a live process, started if there is none; raises ProcessDied."""
        async with self._connecting:
            if self._process is not None and not self._process.ended:
                return self._process
            if not running:
                self._phase = Phase.STARTING
                self._changed()
            try:
                self._process = await self._launched()
            except Exception as error:
                self._phase = Phase.FAILED
                self._fault = SessionFault(
                    reason="AgentNotStarted", message=f"The CLI did not start ({type(error).__name__}).", time=_now()
                )
                self._log.emit("cliNotStarted", sessionId=self.who.session_id, error=type(error).__name__)
                self._changed()
                raise ProcessDied from error
            self._phase = Phase.RUNNING if running else Phase.IDLE
            self._restarts, self._stale, self._born = self._restarts + 1, False, time.monotonic()
            self._changed()
            return self._process

    async def _launched(self) -> Process:
        """Start a process and read its meter."""
        stderr = self._log.cli_stderr
        options = await asyncio.to_thread(launch.options, self.settings.agent, self.places, self.who.session_id, stderr)
        process = Process(options, self._on_message, self._on_end)
        try:
            await asyncio.wait_for(process.connect(), CONNECT_SECONDS)
            self._bill.process_started(await process.meter())
        except BaseException:
            await process.close()
            raise
        return process

    async def _release(self, phase: Phase) -> None:
        """End the process, if there is one."""
        async with self._connecting:
            process, self._process = self._process, None
            if process is not None:
                await process.close()
            if self._phase is not Phase.FAILED:
                self._phase = phase
            self._weight = Weight()
            self._changed()

    def _on_message(self, message: Message) -> None:
        turn = self.turns.running
        self._activity = _now()
        self.events.append("message", as_json(message), turn.number if turn else 0)

    def _on_end(self, process: Process) -> None:
        """The process ended by itself: a turn that runs learns it by its own way."""
        if process is not self._process or self.turns.running is not None:
            return
        self._fault = SessionFault(
            reason="AgentCrashed", message="The CLI ended by itself; the next message starts another.", time=_now()
        )
        self._phase = Phase.SUSPENDED
        self._log.emit("cliEnded", sessionId=self.who.session_id)
        self._changed()

    def _failed(self, turn: Turn, slug: str, text: str, phase: Phase) -> None:
        self._phase, self._activity = phase, _now()
        self._fault = SessionFault(reason=_camel(slug), message=text, time=_now())
        self.turns.end(turn, "interrupted")
        self._error(turn, slug, text)

    def _error(self, turn: Turn, slug: str, text: str) -> None:
        data: dict[str, Any] = {"message": text, "type": PROBLEM_PREFIX + slug}
        self.events.append("error", data, turn.number)

    def _changed(self) -> None:
        self._on_change(self.who.session_id)


def _now() -> datetime:
    return datetime.now(UTC)


def _camel(slug: str) -> str:
    return "".join(part.capitalize() for part in slug.split("-"))
