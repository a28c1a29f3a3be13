"""The process of one session on a host, seen to: started, weighed, ended; what becomes of it is told."""

import asyncio
import time
from abc import ABC, abstractmethod
from secrets import token_hex

from claude_agent_sdk import Message

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
from agentrunner.serving.processes import of_session
from agentrunner.serving.reserve import Reserve
from agentrunner.serving.standing import Identity, Standing, Surroundings, now
from agentrunner.serving.turns import Turns
from agentrunner.serving.unasked import Unasked
from agentrunner.serving.weights import Weight, weigh
from agentsessions.api.bounds import Limit, reached
from agentsessions.api.host import Phase, SessionSettings


class Attending(ABC):
    """Has at most one process for a session, and knows how the session stands; whoever answers messages is to come."""

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
        self.turns = Turns(places.own / "turns.json", around.max_queued, who.session_id, Reserve(places.own / "spare"))
        self.turns.found(found.messages, found.cut, (*found.doubtful, *found.unkept))
        self.beginning = found.beginning
        self._keeper = keeper
        self._around = around
        self._bill = Bill(places.own / FILE, found.usage)
        self._answered, self._not_given, self._unkept = found.ended, found.unread, found.unkept
        self._history = History(launch.transcript_path(places, who.session_id))
        wiring = Wiring(self._on_message, self._on_end, keeper.sdk_store)
        self._cli = Cli(who.session_id, places, self._bill, around.log, wiring)
        self._cli.fork_from = found.fork_from
        self._standing = Standing(transcript=self._history.facts(), interrupted=found.interrupted, kills=around.kills)
        self._idleness = Idleness(now)
        self._unasked = Unasked(time.monotonic)
        self._bounding: asyncio.Task[None] | None = None
        self._worker = asyncio.create_task(self._work(), name=f"session {who.session_id}")

    @property
    def limit(self) -> Limit | None:
        """The bound that the session has reached, if it has reached one."""
        return reached(self.settings.limits, self._bill.usage, now())

    async def start(self) -> None:
        """Have a process ready ahead of the first message; a failure is told by `state`, and by the next message."""
        if self.limit is not None:
            return
        try:
            await self._connected(Phase.STARTING, Phase.IDLE)
        except ProcessDied:
            return

    def weigh(self) -> None:
        """Take note of memory and CPU time of the process and what it has started, and of what was killed of them."""
        standing, family = self._standing, of_session(self.places.config, self._cli.pid)
        before, killed = standing.weight, standing.oom_kills
        standing.weight = weigh(family)
        standing.count_kills()
        if self._cli.process is not None:
            self._cli.process.kills.look()
        self._idleness.background = len([one for one in family if one != self._cli.pid])
        if standing.weight.differs(before) or standing.oom_kills != killed or self._rested():
            self._changed()

    async def _connected(self, meanwhile: Phase, then: Phase) -> Process:
        """Return a live process, started if there is none; raises ProcessDied."""

        def starting() -> None:
            self._standing.phase = meanwhile
            self._changed()

        before = self._cli.starts
        self._note_lost()
        try:
            process = await self._cli.connected(self.settings, starting)
        except ProcessDied as error:
            self._standing.phase = Phase.FAILED
            self._standing.blame("AgentNotStarted", f"The CLI did not start ({type(error.__cause__).__name__}).")
            self._changed()
            raise
        if self._cli.starts != before:
            self._standing.phase = then
            self._changed()
        return process

    async def _release(self, phase: Phase, *, wholly: bool = False) -> None:
        """End the process, if there is one; `wholly`: with all that it has started."""
        self._note_lost()
        await self._cli.release(wholly=wholly)
        if self._standing.phase is not Phase.FAILED:
            self._standing.phase = phase
        self._standing.weight = Weight()
        self._idleness.tasks = ()
        self._unasked.end()
        self._changed()

    async def _look(self) -> None:
        """Take note of how far the transcript goes."""
        self._standing.transcript = await asyncio.to_thread(self._history.facts) or self._standing.transcript

    def _ledger(self) -> Ledger:
        return Ledger(self._bill.usage, self._answered, self._standing.transcript, self._not_given, self._unkept)

    @abstractmethod
    async def _work(self) -> None:
        """Answer one message after another."""

    @abstractmethod
    def _on_message(self, message: Message) -> None:
        """Take what the process says."""

    def _on_end(self, process: Process) -> None:
        """The process ended by itself; a turn that is about to ask it finds that out, or is given back."""
        if process is self._cli.process and (self.turns.running is None or self.turns.running.asked):
            self._note_lost()

    def _note_lost(self) -> None:
        """Tell of a process that ended while nobody waited for its answer, once: nothing of it goes on."""
        if (lost := self._cli.lost) is None:
            return
        self._standing.blame(*self._cli.noted(lost))
        self._standing.phase, self._idleness.tasks = Phase.SUSPENDED, ()
        self._unasked.end()
        self._changed()

    def _rested(self) -> bool:
        return self._idleness.note(busy=self.turns.busy, streams=self._standing.streams)

    def _changed(self) -> None:
        self._rested()
        self._around.on_change(self.who.session_id)
