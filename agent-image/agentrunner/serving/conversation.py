"""One session on a host: its CLI comes and goes, its conversation goes on. One turn at a time."""

import asyncio
from contextlib import suppress
from secrets import token_hex
from typing import Any

from claude_agent_sdk import Message, ResultMessage

from agentrunner.keeping.keeper import CannotKeep, Found, Keeper
from agentrunner.keeping.ledger import Ledger
from agentrunner.serving import launch
from agentrunner.serving.bill import FILE, Bill
from agentrunner.serving.cli import Cli, Wiring
from agentrunner.serving.eventlog import EventLog
from agentrunner.serving.history import History
from agentrunner.serving.idleness import Idleness
from agentrunner.serving.places import SessionPlaces
from agentrunner.serving.problems import Problem, busy, draining, leaving
from agentrunner.serving.process import Process, ProcessDied
from agentrunner.serving.processes import kill_all, of_session
from agentrunner.serving.standing import Identity, Standing, Surroundings, now
from agentrunner.serving.turns import Turn, Turns
from agentrunner.serving.weights import Weight, weigh
from agentrunner.serving.wire import as_json
from agentrunner.transcript import CONTINUATION
from agentsessions.api.host import PROBLEM_PREFIX, Activation, HostSession, Phase, SessionSettings

INTERRUPT_SECONDS = 15.0
MAX_CONTINUATIONS = 3
"""How often in a row the agent is asked to go on: what cuts it off again and again may be its own doing."""


class Conversation:
    """A session that a host holds. The host is told whenever `state` would answer differently."""

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
        self.turns.found(found.messages, found.cut)
        self.beginning = found.beginning
        self._keeper = keeper
        self._around = around
        self._bill = Bill(places.own / FILE, found.usage)
        self._answered = found.ended
        self._continuations = found.continuations
        self._history = History(launch.transcript_path(places, who.session_id))
        wiring = Wiring(self._on_message, self._on_end, keeper.sdk_store)
        self._cli = Cli(who.session_id, places, self._bill, around.log, wiring)
        self._cli.fork_from = found.fork_from
        self._standing = Standing(transcript=self._history.facts(), interrupted=found.cut is not None)
        self._idleness = Idleness(now)
        self._leaving: asyncio.Task[None] | None = None
        self._draining = False
        self._worker = asyncio.create_task(self._work(), name=f"session {who.session_id}")

    def state(self) -> HostSession:
        """Return how the session stands."""
        return HostSession.model_validate(
            self._standing.told()
            | {
                "session_id": self.who.session_id,
                "namespace": self.who.namespace,
                "name": self.who.name,
                "origin": self.who.origin,
                "beginning": self.beginning,
                "prompts": self.turns.count,
                "queued": self.turns.queued,
                "pid": self._cli.pid,
                "restarts": max(0, self._cli.starts - 1),
                "usage": self._bill.usage,
                "idle_since": self._idleness.since,
                **self._keeper.told(),
            }
        )

    @property
    def interrupted(self) -> bool:
        """Whether the last turn before this beginning was cut, and there was none since."""
        return self._standing.interrupted

    def submit(self, prompt: str, key: str | None, *, reject_when_busy: bool) -> Turn:
        """Take a message; raises Problem. What comes of it is in `events`, from its number `turn.after` on."""
        if self._leaving is not None:
            raise leaving()
        if self._draining:
            raise draining()
        log = self.events
        turn = self.turns.submit(
            prompt, key, reject_when_busy=reject_when_busy, after=log.last, incarnation=log.incarnation
        )
        self._changed()
        return turn

    def change(self, settings: SessionSettings) -> None:
        """Run the session by other settings, from its next turn on: most are fixed when a process starts."""
        self.settings = settings

    async def refresh(self) -> None:
        """Replace an idle process that other settings have outdated; one at work is replaced after its turn."""
        if not self.turns.busy and self._leaving is None:
            await self._recycle()

    async def start(self) -> None:
        """Have a process ready ahead of the first message; a failure is told by `state`, and by the next message."""
        try:
            await self._connected(Phase.STARTING, Phase.IDLE)
        except ProcessDied:
            return

    def go_on(self) -> None:
        """Ask the agent to go on with a turn that the loss of a pod cut; the cut message itself is not sent again."""
        cut = self.turns.cut
        if cut is None or self._continuations >= MAX_CONTINUATIONS:
            return
        with suppress(Problem):  # asked before, and cut off before it was written down
            self.submit(CONTINUATION, f"continue {cut}", reject_when_busy=False)

    async def require(self, wanted: Activation) -> None:
        """Refuse to be what the control plane does not remember; one that was put away takes messages again."""
        await self._keeper.require(wanted)
        if self._standing.put_away:
            self._standing.put_away, self._leaving = False, None

    async def interrupt(self) -> bool:
        """End the running turn; return whether there was one."""
        turn, process = self.turns.running, self._cli.process
        if turn is None:
            return False
        if process is None or process.ended:
            turn.unwanted = True  # its process is not up yet
        else:
            await process.interrupt()
        return True

    def put_away(self, *, patient: bool) -> None:
        """Begin to end the process and to have all of the session stored; `state` says when that is done, or why not.

        A session that is not idle is busy (raises Problem), unless the caller is patient: then its turns end first.
        No message is taken from now on, unless it cannot be put away.
        """
        if self._leaving is not None:
            return
        if not patient and self._idleness.since is None:
            raise busy()
        self._leaving = asyncio.create_task(self._put_away(), name=f"putting away {self.who.session_id}")

    def drain(self) -> None:
        """Take no more messages, whichever way they come; those that wait are told, and the running turn goes on."""
        self._draining = True
        for turn in self.turns.drop_waiting():
            self._error(turn, "draining", "The host stops, and has not read the message: send it again.")
        self._changed()

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
        if self._leaving is not None:
            await asyncio.wait({self._leaving})
        await self._release(Phase.SUSPENDED)
        if not self._standing.put_away:
            await self._keeper.settle(self._ledger())
        await self._keeper.close()
        self.events.close()

    def weigh(self) -> None:
        """Take note of memory and CPU time of the process and what it has started."""
        before, pid = self._standing.weight, self._cli.pid
        self._standing.weight = weigh(pid)
        self._idleness.background = len([one for one in of_session(self.places.config, pid) if one != pid])
        if self._standing.weight.differs(before) or self._rested():
            self._changed()

    def entered(self, by: int) -> None:
        """Count a client that follows the session, or one that left (-1)."""
        self._standing.streams += by
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
        """Close the books on a turn and have it stored, then say that it is done."""
        self._bill.turn_ended(result)
        self._answered = turn.uuid
        await self._look()
        durable = await self._keeper.settle(self._ledger())
        await self._look()
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

    async def _put_away(self) -> None:
        """End all, have it stored, and say so; a session that cannot be stored goes on."""
        try:
            await self.turns.rest()
            await self._release(Phase.SUSPENDED)
            # What still works in the background has no pod to work in from now on.
            await asyncio.to_thread(lambda: kill_all(of_session(self.places.config, None)))
            await self._look()
            await self._keeper.put_away(self._ledger())
        except Exception as error:
            reason, text = _why(error)
            self._standing.blame(reason, text)
            self._leaving = None
            self._around.log.emit("notPutAway", sessionId=self.who.session_id, reason=reason)
        else:
            self._standing.put_away = True
            self._around.log.emit("putAway", sessionId=self.who.session_id)
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

    def _error(self, turn: Turn, slug: str, text: str) -> None:
        data: dict[str, Any] = {"message": text, "type": PROBLEM_PREFIX + slug}
        self.events.append("error", data, turn.number)

    def _rested(self) -> bool:
        return self._idleness.note(busy=self.turns.busy, streams=self._standing.streams)

    def _changed(self) -> None:
        self._rested()
        self._around.on_change(self.who.session_id)


def _why(error: Exception) -> tuple[str, str]:
    """Return why a session cannot be put away: a reason in CamelCase, and a sentence."""
    if isinstance(error, CannotKeep):
        return error.reason, str(error)
    return "ArchiveFailed", f"The session cannot be put away ({type(error).__name__})."
