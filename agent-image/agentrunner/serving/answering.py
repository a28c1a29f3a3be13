"""The work of one session on a host: message after message goes to its CLI, what comes of it is told and kept."""

import asyncio
from secrets import token_hex
from typing import Any

from claude_agent_sdk import Message, ResultMessage

from agentrunner.keeping.found import Found
from agentrunner.keeping.keeper import Keeper
from agentrunner.keeping.ledger import Ledger
from agentrunner.serving import launch
from agentrunner.serving.bill import FILE, Bill
from agentrunner.serving.cli import Cli, Wiring
from agentrunner.serving.eventlog import EventLog
from agentrunner.serving.history import History
from agentrunner.serving.idleness import Idleness
from agentrunner.serving.places import SessionPlaces
from agentrunner.serving.process import Process, ProcessDied
from agentrunner.serving.processes import kill_all, of_session
from agentrunner.serving.standing import Identity, Standing, Surroundings, now
from agentrunner.serving.turns import Turn, Turns
from agentrunner.serving.weights import Weight, weigh
from agentrunner.serving.wire import as_json
from agentrunner.stores.base import StoreFenced
from agentsessions.api.host import PROBLEM_PREFIX, Phase, SessionSettings

MOVED = "session-moved"
"""Why a turn, or a session, ended here: another pod has claimed it."""


class Answering:
    """Answers a session's messages, one at a time, whatever happens to its process."""

    def __init__(
        self,
        who: Identity,
        settings: SessionSettings,
        places: SessionPlaces,
        keeper: Keeper,
        found: Found,
        around: Surroundings,
    ) -> None:
        self.who = who
        self.settings = settings
        self.places = places
        self.events = EventLog(token_hex(6))
        self.turns = Turns(places.own / "turns.json", around.max_queued, who.session_id)
        self.turns.found(found.messages, found.cut, found.doubtful)
        self.beginning = found.beginning
        self._keeper = keeper
        self._around = around
        self._bill = Bill(places.own / FILE, found.usage)
        self._answered = found.ended
        self._history = History(launch.transcript_path(places, who.session_id))
        wiring = Wiring(self._on_message, self._on_end, keeper.sdk_store)
        self._cli = Cli(who.session_id, places, self._bill, around.log, wiring)
        self._cli.fork_from = found.fork_from
        self._standing = Standing(transcript=self._history.facts(), interrupted=found.interrupted)
        self._idleness = Idleness(now)
        self._worker = asyncio.create_task(self._work(), name=f"session {who.session_id}")

    async def start(self) -> None:
        """Have a process ready ahead of the first message; a failure is told by `state`, and by the next message."""
        try:
            await self._connected(Phase.STARTING, Phase.IDLE)
        except ProcessDied:
            return

    def weigh(self) -> None:
        """Take note of memory and CPU time of the process and what it has started."""
        before, pid = self._standing.weight, self._cli.pid
        self._standing.weight = weigh(pid)
        self._idleness.background = len([one for one in of_session(self.places.config, pid) if one != pid])
        if self._standing.weight.differs(before) or self._rested():
            self._changed()

    async def _work(self) -> None:
        """Answer one message after another."""
        while True:
            turn = await self.turns.next()
            turn.after = self.events.last
            try:
                await self._answer(turn)
            except Exception as error:
                self._around.log.emit("turnFailed", error=type(error).__name__)
                self._failed(turn, "host-failed", "The host failed while it answered.", Phase.FAILED)
            self._changed()

    async def _answer(self, turn: Turn) -> None:
        """Answer one message, whatever happens to the process."""
        self._standing.phase, self._standing.activity = Phase.RUNNING, now()
        self._changed()
        try:
            process = await self._connected(Phase.RUNNING, Phase.RUNNING)
        except ProcessDied:
            self._failed(turn, "agent-not-started", "The agent's process could not be started.", Phase.FAILED)
            return
        if turn.unwanted:
            self._standing.phase = Phase.IDLE
            self.turns.end(turn, "done")
            self.events.append("done", {}, turn.number)
            return
        try:
            await self._keeper.announce(turn.uuid)
            result = await process.ask(turn.prompt, turn.uuid)
        except StoreFenced:
            self._moved(turn)
            return
        except ProcessDied:
            text = "The agent's process died. What it had done so far is kept; send a message to go on."
            await self._release(Phase.SUSPENDED)
            # The tool that it ran lives on without it: resumed, the agent would meet its own past self at work.
            await asyncio.to_thread(lambda: kill_all(of_session(self.places.config, None)))
            self._failed(turn, "agent-crashed", text, Phase.SUSPENDED)
            return
        await self._ended(turn, result)

    async def _ended(self, turn: Turn, result: ResultMessage) -> None:
        """Close the books on a turn and have it stored, then say that it is done."""
        self._bill.turn_ended(result)
        self._answered = turn.uuid
        await self._keeper.written()
        # Before the store is given it: a line that comes later is not told of as long as the pod alone has it.
        await self._look()
        durable = await self._keeper.settle(self._ledger())
        if self._keeper.fenced:
            self._moved(turn)
            return
        standing = self._standing
        standing.activity, standing.phase, standing.fault, standing.interrupted = now(), Phase.IDLE, None, False
        self._cli.fork_from = None
        self.turns.end(turn, "done")
        self.events.append("done", {} if durable is not False else {"transcriptDurable": False}, turn.number)
        self._around.log.emit(
            "turnEnded", sessionId=self.who.session_id, turns=result.num_turns, isError=result.is_error, durable=durable
        )
        self.weigh()
        await self._recycle()

    async def _recycle(self) -> None:
        """Replace a process that has grown too large or too old, or whose settings have changed."""
        reason = self._cli.must_be_replaced(self.settings, self._standing.weight)
        if reason is None:
            return
        self._around.log.emit("processRecycled", sessionId=self.who.session_id, reason=reason)
        await self._release(Phase.SUSPENDED)
        if not self.turns.queued:
            await self.start()

    async def _connected(self, meanwhile: Phase, then: Phase) -> Process:
        """Return a live process, started if there is none; raises ProcessDied."""

        def starting() -> None:
            self._standing.phase = meanwhile
            self._changed()

        before = self._cli.starts
        try:
            process = await self._cli.connected(self.settings, starting)
        except ProcessDied as error:
            self._standing.phase = Phase.FAILED
            cause = type(error.__cause__).__name__
            self._standing.blame("AgentNotStarted", f"The CLI did not start ({cause}).")
            self._changed()
            raise
        if self._cli.starts != before:
            self._standing.phase = then
            self._changed()
        return process

    async def _release(self, phase: Phase) -> None:
        """End the process, if there is one."""
        await self._cli.release()
        if self._standing.phase is not Phase.FAILED:
            self._standing.phase = phase
        self._standing.weight = Weight()
        self._changed()

    async def _look(self) -> None:
        """Take note of how far the transcript goes."""
        self._standing.transcript = await asyncio.to_thread(self._history.facts) or self._standing.transcript

    def _ledger(self) -> Ledger:
        return Ledger(self._bill.usage, self._answered, self._standing.transcript)

    def _on_message(self, message: Message) -> None:
        turn = self.turns.running
        self._standing.activity = now()
        self.events.append("message", as_json(message), turn.number if turn else 0)

    def _on_end(self, process: Process) -> None:
        """The process ended by itself: a turn that runs learns it by its own way."""
        if process is not self._cli.process or self.turns.running is not None:
            return
        self._standing.blame("AgentCrashed", "The CLI ended by itself; the next message starts another.")
        self._standing.phase = Phase.SUSPENDED
        self._around.log.emit("cliEnded", sessionId=self.who.session_id)
        self._changed()

    def _failed(self, turn: Turn, slug: str, text: str, phase: Phase) -> None:
        self._standing.phase, self._standing.activity = phase, now()
        self._standing.blame("".join(part.capitalize() for part in slug.split("-")), text)
        self.turns.end(turn, "interrupted")
        self._error(turn, slug, text)

    def _moved(self, turn: Turn) -> None:
        """Another pod has the session: what came of the turn here is in no conversation."""
        self._failed(turn, MOVED, "The session goes on in another pod, without this turn.", Phase.FAILED)

    def _error(self, turn: Turn, slug: str, text: str) -> None:
        data: dict[str, Any] = {"message": text, "type": PROBLEM_PREFIX + slug}
        self.events.append("error", data, turn.number)

    def _rested(self) -> bool:
        return self._idleness.note(busy=self.turns.busy, streams=self._standing.streams)

    def _changed(self) -> None:
        self._rested()
        self._around.on_change(self.who.session_id)
