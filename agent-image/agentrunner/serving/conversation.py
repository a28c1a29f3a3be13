"""One session on a host: its CLI comes and goes, its conversation goes on. One turn at a time."""

import asyncio
from contextlib import suppress
from typing import Literal

from agentrunner.keeping.found import Found
from agentrunner.keeping.keeper import Keeper
from agentrunner.keeping.refusals import CannotKeep
from agentrunner.serving.answering import Answering
from agentrunner.serving.places import SessionPlaces
from agentrunner.serving.problems import Problem, busy, draining, leaving, limited, moved
from agentrunner.serving.standing import Identity, Surroundings
from agentrunner.serving.turns import Turn
from agentrunner.transcript import CONTINUATION
from agentrunner.waiting import within
from agentsessions.api.host import Activation, HostSession, Phase, SessionSettings

INTERRUPT_SECONDS = 15.0
_STORE_AGAIN_SECONDS = 1.0
MAX_CONTINUATIONS = 3
"""How often in a row the agent is asked to go on: what cuts it off again and again may be its own doing."""


class Conversation(Answering):
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
        super().__init__(who, settings, places, keeper, found, around)
        self.on_delete: Literal["Retain", "Delete"] = "Retain"
        self._continuations = found.continuations
        self._leaving: asyncio.Task[None] | None = None
        self._draining = False
        self._closing: asyncio.Task[None] | None = None

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
                "limit": self.limit,
                **self._keeper.told(),
            }
        )

    @property
    def interrupted(self) -> bool:
        """Whether the last turn before this beginning was cut, and there was none since."""
        return self._standing.interrupted

    @property
    def fenced(self) -> bool:
        """Whether another pod has the session by now."""
        return self._keeper.fenced

    def submit(self, prompt: str, key: str | None, *, reject_when_busy: bool) -> Turn:
        """Take a message; raises Problem. What comes of it is in `events`, from its number `turn.after` on."""
        if self.fenced:
            raise moved()
        if self._leaving is not None:
            raise leaving()
        if self._draining:
            raise draining()
        if (limit := self.limit) is not None and not self.turns.knows(key):
            raise limited(limit)
        log = self.events
        turn = self.turns.submit(
            prompt, key, reject_when_busy=reject_when_busy, after=log.last, incarnation=log.incarnation
        )
        self._changed()
        return turn

    def change(self, settings: SessionSettings) -> None:
        """Run the session by other settings, from its next turn on: most are fixed when a process starts."""
        self.settings = settings

    async def start(self) -> None:
        """Have a process ready, but for a session that is being put away."""
        if self._leaving is None:
            await super().start()

    async def refresh(self) -> None:
        """Replace an idle process that other settings have outdated; one at work is replaced after its turn."""
        if not self.turns.busy and self._leaving is None:
            await self._recycle()

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
        if not turn.asked or process is None or process.ended:
            turn.unwanted = True  # its process is not up yet, or knows nothing of it
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

    async def leave(self, seconds: float) -> None:
        """Let the running turn finish within `seconds`, then end the session on a host that stops.

        What is left of that time is given to a store that is away: where pods are evicted, it may just be moving, too.
        """
        until = asyncio.get_running_loop().time() + seconds
        running = self.turns.running
        if running is not None:
            await within(max(0.0, seconds), running.ended.wait())
        await self.close("draining", until=until)

    async def close(self, reason: str = "session-closed", *, archive: bool = False, until: float = 0.0) -> None:
        """End the session on this host: a running turn is interrupted, waiting ones are told; once, whoever asks.

        `archive` has the workspace archived as well, as a host that stops does for all of its sessions; but for one
        whose resource is gone and takes along what is stored of it, nothing is stored any more. Until `until` (by the
        loop's clock) it is tried again to have it stored.
        """
        if self._closing is None:
            whole, forget = archive or reason == "draining", archive and self.on_delete == "Delete"
            closing = self._close(reason, whole=whole, forget=forget, until=until)
            self._closing = asyncio.create_task(closing, name=f"closing {self.who.session_id}")
        await asyncio.shield(self._closing)

    async def _close(self, reason: str, *, whole: bool, forget: bool, until: float) -> None:
        if forget:
            if self._leaving is not None:
                self._leaving.cancel()  # it stores what is to be stored no more
            await self._keeper.close(forget=True)
        for turn in self.turns.drop_waiting():
            self._error(turn, reason, "The session left this host before the message was read.")
        running = self.turns.running
        self._standing.stopped_at_work = reason == "draining" and (running is not None or self._unasked.runs)
        if running is not None:
            await self.interrupt()
            if not await within(INTERRUPT_SECONDS, running.ended.wait()):
                self._error(running, reason, "The session left this host while it answered.")
                self.turns.end(running, "interrupted")
        self._worker.cancel()
        if self._leaving is not None:
            await asyncio.wait({self._leaving})
        await self._release(Phase.SUSPENDED)
        if not self._standing.put_away:
            await self._last_words(whole, until)
        await self._keeper.close()
        self.events.close()

    def entered(self, by: int) -> None:
        """Count a client that follows the session, or one that left (-1)."""
        self._standing.streams += by
        self._changed()

    async def _last_words(self, whole: bool, until: float) -> None:
        """Have stored what can be; the workspace too if that is asked for, since what is on the disk goes."""
        if not whole:
            await self._keeper.settle(self._ledger())
            return
        try:
            await self._kept(until)
        except Exception as error:  # whatever it is, the session goes
            self._around.log.emit("notStored", sessionId=self.who.session_id, reason=_why(error)[0])
            return
        # Only what is in a store may go on elsewhere before this host is gone.
        self._standing.put_away = self._keeper.sdk_store is not None
        self._changed()

    async def _kept(self, until: float) -> None:
        """Have all stored, also by a store that is back in time only. Raises CannotKeep, and whatever else comes."""
        while True:
            try:
                return await self._keeper.put_away(self._ledger())
            except CannotKeep:
                if self.fenced or asyncio.get_running_loop().time() >= until:
                    raise
            await asyncio.sleep(_STORE_AGAIN_SECONDS)

    async def _put_away(self) -> None:
        """End all, have it stored, and say so; a session that cannot be stored goes on."""
        try:
            await self.turns.rest()
            # What still works in the background has no pod to work in from now on.
            await self._release(Phase.SUSPENDED, wholly=True)
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


def _why(error: Exception) -> tuple[str, str]:
    """Return why a session cannot be put away: a reason in CamelCase, and a sentence."""
    if isinstance(error, CannotKeep):
        return error.reason, str(error)
    return "ArchiveFailed", f"The session cannot be put away ({type(error).__name__})."
