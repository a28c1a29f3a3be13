"""The one session of a pod, for those who talk to it while its task runs. Who answers is `run`, not this.

The prompt is the first message. Once nothing runs or waits the session is over: what comes later is refused.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from claude_agent_sdk import Message

from agentrunner.company import Company
from agentrunner.events import EventLog as PodLog
from agentrunner.inputs import Inputs
from agentrunner.places import Places
from agentrunner.serving import launch
from agentrunner.serving.door import Door, door, opened
from agentrunner.serving.eventlog import EventLog
from agentrunner.serving.history import History
from agentrunner.serving.places import SessionPlaces
from agentrunner.serving.problems import draining, not_found, session_finished
from agentrunner.serving.processes import tree
from agentrunner.serving.standing import Identity
from agentrunner.serving.tokens import Caller
from agentrunner.serving.turns import Turn, Turns
from agentrunner.serving.weights import weigh
from agentrunner.serving.wire import as_json
from agentrunner.state import FOLDER
from agentsessions.api.host import PROBLEM_PREFIX, Beginning, HostSession, Origin, Phase

MAX_QUEUED = 8
"""Messages that may wait, as on a host unless its pool says otherwise."""

_TOLD_TO_STOP = (
    "draining",
    "The pod was told to stop. If the session goes on in another, send the message again then.",
)
_DIED = ("agent-crashed", "The agent's process died.")
_UNREAD = ("session-finished", "The session ended before it read this message.")


class Solo(Company):
    """The session as its clients see it."""

    def __init__(self, who: Identity, places: SessionPlaces, prompt: str, door: Door, log: PodLog) -> None:
        super().__init__()
        self.who = who
        self.places = places
        self.events = EventLog(token_hex(6))
        self.interrupted = False
        self._turns = _Turns(places.own / "turns.json", MAX_QUEUED, log)
        self._history = History(launch.transcript_path(places, who.session_id))
        self._log = log
        self._door = door
        self._on_interrupt: Callable[[], None] = lambda: None
        self._streams = 0
        self._activity: datetime | None = None
        self._over = False
        self.submit(prompt, None, reject_when_busy=False)

    # For clients.

    @property
    def beginning(self) -> Beginning:
        """With what this attempt began."""
        return Beginning.RESUMED if self.facts.resumed else Beginning.FRESH

    async def find(self, session_id: str, caller: Caller) -> "Solo":
        """Return this session, if it is the one that the caller asks for; raises Problem."""
        if session_id != self.who.session_id:
            raise not_found()
        return self

    def state(self) -> HostSession:
        """Return how the session stands."""
        weight = weigh(tree(self.facts.pid) if self.facts.pid is not None else ())
        return HostSession(
            session_id=self.who.session_id,
            namespace=self.who.namespace,
            name=self.who.name,
            phase=self._phase,
            beginning=self.beginning,
            prompts=self._turns.count,
            queued=self._turns.queued,
            streams=self._streams,
            pid=self.facts.pid,
            rss_bytes=weight.memory_bytes,
            cpu_seconds=weight.cpu_seconds,
            usage=self.facts.usage,
            transcript=self._history.facts(),
            last_activity_time=self._activity,
        )

    def submit(self, prompt: str, key: str | None, *, reject_when_busy: bool) -> Turn:
        """Take a message, as long as the session is not over; raises Problem."""
        if self._over:
            raise session_finished()
        if self.draining:
            raise draining()
        log = self.events
        return self._turns.submit(
            prompt, key, reject_when_busy=reject_when_busy, after=log.last, incarnation=log.incarnation
        )

    async def interrupt(self) -> bool:
        """End the running turn; return whether there was one."""
        if self._turns.running is None:
            return False
        self._on_interrupt()
        return True

    def entered(self, by: int) -> None:
        """Count a client that follows the session, or one that left (-1)."""
        self._streams += by

    # For the attempt.

    @asynccontextmanager
    async def present(self, on_interrupt: Callable[[], None]) -> AsyncGenerator[None, None]:
        """Let clients in."""
        self._on_interrupt = on_interrupt
        async with opened(self._door, self, self._log):
            yield

    def drain(self) -> None:
        """Take no more messages, and tell those who wait for the turn that runs: they could wait elsewhere."""
        super().drain()
        self._drop_waiting(*_TOLD_TO_STOP)

    async def next(self) -> Turn | None:
        """Return the next message to answer; None when there is none, and there will be none from then on."""
        if not self._turns.queued:
            self._over = True
            return None
        turn = await self._turns.next()  # does not wait: there is one
        await self._turns.begun(turn)  # nor does this: without room it goes on
        turn.after, self._activity = self.events.last, _now()
        self._log.emit("messageTaken", number=turn.number, size=len(turn.prompt))
        return turn

    def heard(self, message: Message) -> None:
        """Pass on what the agent says."""
        turn, self._activity = self._turns.running, _now()
        self.events.append("message", as_json(message), turn.number if turn else 0)

    def answered(self) -> None:
        """Say that the running turn is done."""
        turn = self._turns.running
        if turn is not None:
            self._turns.end(turn, "done")
            self.events.append("done", {}, turn.number)

    def close(self) -> None:
        """End the session: whoever waits for an answer is told that there will be none."""
        self._over = True
        running = self._turns.running
        if running is not None:
            self._turns.end(running, "interrupted")
            self._error(running, *(_TOLD_TO_STOP if self.draining else _DIED))
        self._drop_waiting(*(_TOLD_TO_STOP if self.draining else _UNREAD))
        self.events.close()

    @property
    def _phase(self) -> Phase:
        if self._over:
            return Phase.SUSPENDED
        return Phase.STARTING if self._turns.running is None else Phase.RUNNING

    def _drop_waiting(self, slug: str, text: str) -> None:
        for turn in self._turns.drop_waiting():
            self._error(turn, slug, text)

    def _error(self, turn: Turn, slug: str, text: str) -> None:
        self.events.append("error", {"message": text, "type": PROBLEM_PREFIX + slug}, turn.number)


class _Turns(Turns):
    """Turns of a session whose task counts for more than its books: a volume that breaks must not end it."""

    def __init__(self, path: Path, max_queued: int, log: PodLog) -> None:
        self._log = log
        super().__init__(path, max_queued)

    def _write(self) -> None:
        try:
            super()._write()
        except OSError as error:
            self._log.emit("stateNotKept", error=error.strerror)


def _now() -> datetime:
    return datetime.now(UTC)


def solo(own: Mapping[str, str], inputs: Inputs, where: Places, log: PodLog) -> Solo:
    """Return the session that the pod is given; raise InvalidInput for what is missing or wrong."""
    own_places = SessionPlaces(
        own=where.state / FOLDER,
        config=Path(own.get("CLAUDE_CONFIG_DIR", where.state / "claude")),
        workspace=where.workspace,
        tmp=Path(own.get("TMPDIR", "/tmp")),
        home=Path(own.get("HOME", "/home/agent")),
    )
    who = Identity(inputs.session_id, inputs.namespace, inputs.name, Origin.NAMED)
    return Solo(who, own_places, inputs.prompt, door(own), log)
