"""The work of one session on a host: message after message goes to its CLI, what comes of it is told and kept."""

import asyncio

from claude_agent_sdk import Message, ResultMessage, SystemMessage

from agentrunner.serving import metrics
from agentrunner.serving.attending import Attending
from agentrunner.serving.endings import LOST_TURN, MOVED_TURN, OVERDUE_TURN, cut_short, died, done, word
from agentrunner.serving.problems import NO_ROOM
from agentrunner.serving.process import Process, ProcessDied
from agentrunner.serving.standing import now
from agentrunner.serving.turns import KEPT, Turn
from agentrunner.serving.unasked import OVERDUE
from agentrunner.serving.wire import as_json
from agentrunner.session import INTERRUPT_SECONDS
from agentrunner.stores.base import StoreFenced
from agentrunner.waiting import within
from agentsessions.api.bounds import PROBLEMS, Limit, explain
from agentsessions.api.host import PROBLEM_PREFIX, Phase

_LOOKS, _LOOK_SECONDS = 20, 0.05


class Answering(Attending):
    """Answers a session's messages, one at a time, whatever happens to its process."""

    def keep_bounds(self) -> None:
        """See that what the CLI does without a message ends at the session's bounds, as what it is asked for does."""
        goes_on = self._cli.is_alive or self._idleness.background
        if self.turns.busy or not goes_on or (self._bounding is not None and not self._bounding.done()):
            return
        if self._unasked.is_overdue(self.settings.limits.turn_deadline_seconds):
            self._bounding = asyncio.create_task(self._cut_unasked(), name=f"bounds {self.who.session_id}")
        elif self.limit is not None and not self._unasked.runs:
            self._bounding = asyncio.create_task(self._rest_unasked(), name=f"bounds {self.who.session_id}")

    async def _rest_unasked(self) -> None:
        """End the process of a session that has reached a bound, once what it did by itself is stored."""
        await self._keeper.written()
        await self._look()
        await self._keeper.settle(self._ledger())
        if (limit := self.limit) is not None and not self.turns.busy:
            await self._come_to_rest(limit)

    async def _cut_unasked(self) -> None:
        """Make an end of a turn of the CLI's own, and of the CLI if it does not end it."""
        if (process := self._cli.process) is None:
            return
        await process.interrupt()
        await within(INTERRUPT_SECONDS, self._unasked.over.wait())
        if self._unasked.runs and not self.turns.busy:
            await self._killed()
        self._standing.blame("TurnDeadlineExceeded", OVERDUE)
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
        if not await self.turns.begun(turn, self.settings.limits.turn_deadline_seconds):
            self._unread(turn)
            return
        self._standing.phase, self._standing.activity = Phase.RUNNING, now()
        self._changed()
        try:
            process = await self._connected(Phase.RUNNING, Phase.RUNNING)
        except ProcessDied:
            self._failed(turn, "agent-not-started", "The agent's process could not be started.", Phase.FAILED)
            return
        try:
            if not turn.unwanted:
                await self._keeper.announce(turn.uuid)
            if turn.unwanted:
                self._standing.phase = Phase.IDLE
                self._unread(turn)
                return
            turn.asked = True
            await asyncio.to_thread(self._history.turn_begins)
            if self._history.is_torn:  # by a turn of the CLI's own: what it writes next would be glued to that
                await self._killed()
                process = await self._connected(Phase.RUNNING, Phase.RUNNING)
                await asyncio.to_thread(self._history.turn_begins)
            result = await process.ask(turn.prompt, turn.uuid, self.settings.limits.turn_deadline_seconds)
        except StoreFenced:
            self._failed(turn, *MOVED_TURN, Phase.FAILED)
            return
        except ProcessDied:
            await self._unanswered(turn, process)
            return
        await self._ended(turn, process, result)

    async def _unanswered(self, turn: Turn, process: Process) -> None:
        """Say that the process died before the turn was at its end, or that an end was put to it."""
        if process.overdue and process.ended:
            self._note_lost()  # the turn only says that it took too long
        death, told, process.noted = self._standing.death, process.noted, True
        await self._killed()
        slug, text = died(overdue=process.overdue, starved=process.starved)
        self._failed(turn, slug, text, Phase.SUSPENDED, process.exit_code)
        if told:
            self._standing.death = death

    async def _killed(self) -> None:
        """Leave nothing of a process that died or will not end its turn."""
        # The tool that it ran lives on without it: resumed, the agent would meet its own past self at work.
        await self._release(Phase.SUSPENDED, wholly=True)

    async def _ended(self, turn: Turn, process: Process, result: ResultMessage) -> None:
        """Close the books on a turn and have it stored, then say that it is done."""
        self._bill.turn_ended(result)
        if not await self._keeper.written() and process.ended:
            await self._unanswered(turn, process)  # it took the end of its answer with it
            return
        # Before the store is given it: a line that comes later is not told of as long as the pod alone has it.
        if not await self._is_kept(turn):
            await self._not_kept(turn)
            return
        self._answered, overdue = turn.uuid, process.overdue
        durable = await self._keeper.settle(self._ledger())
        if self._keeper.fenced:
            self._failed(turn, *MOVED_TURN, Phase.FAILED)
            return
        cut = cut_short(result)
        self._standing.turn_ended((word(OVERDUE_TURN[0]), OVERDUE_TURN[1]) if overdue else cut)
        if not self._cli.is_alive:
            self._standing.phase = Phase.SUSPENDED
        self._cli.fork_from = None
        self.turns.end(turn, "done")
        if overdue:
            self._error(turn, *OVERDUE_TURN)
        else:
            self.events.append("done", done(cut, durable), turn.number)
        self._around.log.emit(
            "turnEnded", sessionId=self.who.session_id, turns=result.num_turns, isError=result.is_error, durable=durable
        )
        self.weigh()
        await (self._recycle() if self.limit is None else self._come_to_rest(self.limit))

    async def _is_kept(self, turn: Turn) -> bool:
        """Look how far the transcript goes, and return whether it has a turn; a line may be on its way still."""
        for _ in range(_LOOKS):
            await self._look()
            if self._history.has_whole(turn.uuid):
                return True
            await asyncio.sleep(_LOOK_SECONDS)
        return False

    async def _not_kept(self, turn: Turn) -> None:
        """Go on from what is written: the process alone knows what was said, and nobody can ask it for that."""
        self._unkept = (*self._unkept, turn.uuid)[-KEPT:]
        await self._killed()
        await self._keeper.settle(self._ledger())
        self._around.log.emit("turnNotKept", sessionId=self.who.session_id)
        self._failed(turn, *(MOVED_TURN if self._keeper.fenced else LOST_TURN), Phase.SUSPENDED)
        if self.limit is not None:
            await self._come_to_rest(self.limit)

    async def _come_to_rest(self, limit: Limit) -> None:
        """The session has reached a bound: it needs no process, and nobody who waits is answered."""
        self._around.log.emit("limitReached", sessionId=self.who.session_id, reason=limit)
        for turn in self.turns.drop_waiting():
            self._error(turn, PROBLEMS[limit], explain(limit))
        # What still works in the background would keep the session awake, and nobody could ask the agent to end it.
        await self._release(Phase.SUSPENDED, wholly=True)

    async def _recycle(self) -> None:
        """Replace a process that has grown too large or too old, or whose settings have changed."""
        reason = self._cli.must_be_replaced(self.settings, self._standing.weight)
        if reason is None or (self._idleness.delegates and reason != "settings"):
            return  # a process whose subagents are at work is replaced after a later turn
        metrics.recycled.labels(reason).inc()
        self._around.log.emit("processRecycled", sessionId=self.who.session_id, reason=reason)
        # What has lost its parent weighs too, and would have every next process replaced.
        await self._release(Phase.SUSPENDED, wholly=reason == "memory" or self.limit is not None)
        if not self.turns.queued:
            await self.start()

    def _on_message(self, message: Message) -> None:
        turn = self.turns.running
        self._standing.activity = now()
        self._unasked.note(message, asked=turn is not None)
        self.events.append("message", as_json(message), turn.number if turn else 0)
        if isinstance(message, SystemMessage) and message.subtype == "background_tasks_changed":
            self._idleness.tasks = tuple(str(task.get("task_type")) for task in message.data.get("tasks", []))
            self._changed()
        if isinstance(message, ResultMessage) and turn is None:
            self._bill.turn_ended(message)  # the CLI's own turn, when a subagent in the background has ended
            self._standing.note_cut(cut_short(message))
            self._changed()
            self.keep_bounds()

    def _failed(self, turn: Turn, slug: str, text: str, phase: Phase, exit_code: int | None = None) -> None:
        self._standing.phase, self._standing.activity = phase, now()
        self._standing.blame(word(slug), text, exit_code)
        self.turns.end(turn, "interrupted")
        self._error(turn, slug, text)

    def _unread(self, turn: Turn) -> None:
        """The process was not given a message: it was interrupted before, or nothing could be written down of it."""
        if turn.unwanted:
            self._not_given = turn.uuid  # the store may have it that it began
            self.turns.end(turn, "done")
            self.events.append("done", {}, turn.number)
        else:
            self.turns.take_back(turn)
            self._error(turn, "no-room", NO_ROOM)
        self._note_lost()

    def _error(self, turn: Turn, slug: str, text: str) -> None:
        self.events.append("error", {"message": text, "type": PROBLEM_PREFIX + slug}, turn.number)
