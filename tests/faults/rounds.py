"""A round: sessions in different moments, one fault, and what became of all of it."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from e2e.api import Json
from e2e.waiting import WaitFailed, eventually
from faults import ledger
from faults.arena import Arena
from faults.cast import Act, Cast
from faults.ledger import Ledger
from faults.moments import LONGEST, Moment
from faults.record import Cell
from faults.story import Story
from faults.strikes import FULL_SECONDS, Strike, said_in_pod

TOGETHER, LONG = 3, 8
"""Rounds that a session is in: with each loss of its host, kubelet and operator wait longer before the next; and those
it is in where no fault ends its host."""
TOLD_SECONDS = 60
"""Within which status says how a session's host has ended, once it goes on."""
BRIEF_SECONDS = 0.3
"""Within which after the beginning of its moment a blow is to fall, where there is little to hit later."""
MOST_WRITES = 40
"""What operator and gateways may write about one session in a round: its pods, its Secrets, its status, its events."""


@dataclass
class Rounds:
    """The rounds of one fault. Sessions that can be used again are, after it too, unless they are made for it alone."""

    arena: Arena
    strike: Strike
    chance: random.Random
    _cast: Cast = field(init=False)
    _doomed: set[str] = field(default_factory=set)
    _at_home: set[str] = field(default_factory=set)
    _ledger: Ledger = field(init=False)
    _model: str = field(init=False)

    def __post_init__(self) -> None:
        """Find who takes part, and begin to read what the API server writes down."""
        self._model = self.arena.model()
        self._cast = Cast(partial(self.arena.story, volume=True)) if self.strike.volume else self.arena.cast
        self._ledger = self.arena.ledger()

    async def play(self, moments: Sequence[Moment]) -> list[Cell]:
        """Bring a session to each moment, strike, wait until they have gone on, and look at what became of them."""
        times = [time.monotonic()]
        acts = self._cast.enter(moments)
        await self._prepare(acts)
        times.append(time.monotonic())
        struck = asyncio.create_task(self._strike_shared())
        cells = await asyncio.gather(*(self._through(act, struck, wait=self._offset(act)) for act in acts))
        times.append(time.monotonic())
        await asyncio.to_thread(self.arena.heal)
        times.append(time.monotonic())
        await self._look(acts, cells)
        times.append(time.monotonic())
        spent = zip(("prepare", "strike", "heal", "look"), pairwise(times), strict=True)
        print(f"{len(acts)} sessions:", ", ".join(f"{what} {end - begin:.0f} s" for what, (begin, end) in spent))
        return cells

    async def close(self) -> list[Cell]:
        """Delete the sessions that were made for this fault alone; returns cells of those of which something stays."""
        if self._cast is self.arena.cast:
            return []
        return [Cell(self.strike.name, "delete", False, 0, problems) for problems in await end(self._cast)]

    async def _prepare(self, acts: Sequence[Act]) -> None:
        """Bring all to where their moments begin; for a fault of a node, all pods are made there."""
        if self.strike.node:
            await asyncio.to_thread(self.arena.gather)
            away = await asyncio.to_thread(self.arena.elsewhere)
            moved = [act.story for act in acts if act.story.uid in away]
            await asyncio.gather(*(asyncio.to_thread(story.suspend) for story in moved))
        await asyncio.gather(*(act.moment.before(act.story) for act in acts))
        await asyncio.gather(*(asyncio.to_thread(act.story.note_end) for act in acts))
        await asyncio.to_thread(self._ledger.read)

    def _offset(self, act: Act) -> float:
        """Return after how many seconds a session begins, so that a shared fault hits it within its moment."""
        return LONGEST - self.chance.uniform(0, act.moment.lasts)

    async def _through(self, act: Act, shared: "asyncio.Task[float]", *, wait: float) -> Cell:
        """Do what the moment does while the fault strikes; all that the fault may do to it is to make it slow."""
        await asyncio.sleep(wait)
        story, problems, over = act.story, list[str](), asyncio.Event()
        ahead = await self._way(act) - self.chance.uniform(0, BRIEF_SECONDS) if self._is_brief(act) else 0.0
        own, cut = asyncio.create_task(self._strike_own(act, over)), len(story.cut)
        if ahead > 0:
            await asyncio.sleep(ahead)
        began = time.monotonic()
        try:
            await act.moment.during(story)
        except Exception as error:
            problems.append(_told(error))
        ended = time.monotonic()
        over.set()
        if len(story.cut) > cut and not self.strike.cuts:
            problems.append("a turn was cut")
        struck = max(await own, await shared)
        # What came before or after has hit something, but not this.
        hit = began <= struck <= ended and (self.strike.own is not None or self._concerns(story))
        seconds = ended - struck if hit else 0.0
        if seconds > self.strike.seconds:
            problems.append(f"it took {seconds:.0f} s, and {self.strike.seconds:.0f} s were stated")
        return Cell(self.strike.name, act.moment.name, hit, seconds, problems, stated=self.strike.seconds)

    async def _untold(self, act: Act, cell: Cell) -> list[str]:
        """Return what status says anew of the end of a session's host, if it is not what has been done to it."""
        if not cell.hit or act.moment.sleeps or not (reasons := self.strike.reasons):
            return []
        if self.strike.node and act.story.uid not in self._at_home:
            return []  # the pod of its last wake was on its way out: that is no end of its host
        try:
            await asyncio.to_thread(eventually, act.story.ended_by, reasons.__contains__, "its last end", TOLD_SECONDS)
        except WaitFailed as error:
            return [_told(error)]
        return []

    def _is_brief(self, act: Act) -> bool:
        """Return whether what there is to strike at is gone as soon as the moment has begun."""
        return act.moment.sleeps and self.strike.brief

    async def _way(self, act: Act) -> float:
        """Return how long a blow takes from when it is struck until it falls."""
        began, told = time.time(), None
        if await asyncio.to_thread(self.strike.reach, act.story):
            told = await asyncio.to_thread(said_in_pod, act.story, "date +%s.%N")
        return float(told) - began if told else 0.0

    def _concerns(self, story: Story) -> bool:
        """Return whether a shared fault hit what the session stands on: its node, or what all of them use."""
        return not self.strike.node or story.uid in self._doomed

    async def _strike_own(self, act: Act, over: asyncio.Event) -> float:
        """Strike at a session's own pod, at a random time once it is there; return when (monotonic).

        Returns 0 if there was nothing to strike at until the moment was over.
        """
        if self.strike.own is None:
            return 0.0
        while not await asyncio.to_thread(self.strike.reach, act.story):
            if over.is_set():
                return 0.0
            await asyncio.sleep(0.2)
        if not self._is_brief(act):  # the way into the pod takes longer than what is there to be hit
            await asyncio.sleep(self.chance.uniform(0, min(act.moment.lasts, 3)))
        while not over.is_set():
            at = time.monotonic()
            if struck := await asyncio.to_thread(self.strike.own, self.arena, act.story):
                return at if struck is True else struck - time.time() + time.monotonic()
            await asyncio.sleep(0.2)
        return 0.0

    async def _strike_shared(self) -> float:
        """Strike at what is shared; return when (monotonic), 0 if there is nothing to do.

        Each session has begun at a time of its own before, so that each is hit at another place.
        """
        if self.strike.shared is None:
            return 0.0
        await asyncio.sleep(LONGEST)
        if self.strike.node:
            self._doomed = await asyncio.to_thread(self.arena.on_doomed)
            self._at_home = await asyncio.to_thread(self.arena.at_home_on_doomed)
            if not self.strike.volume:  # a session whose volume is made elsewhere could be struck in no further round
                await asyncio.to_thread(self.arena.scatter)
        at = time.monotonic()
        striking = asyncio.create_task(asyncio.to_thread(self.strike.shared, self.arena))
        if self.strike.volume:  # a pod waits for its volume first, and then comes to where nothing can be written
            await asyncio.sleep(FULL_SECONDS / 2)
            self._doomed |= await asyncio.to_thread(self.arena.on_doomed)
        return await striking or at

    async def _look(self, acts: Sequence[Act], cells: Sequence[Cell]) -> None:
        """Go on with all sessions, write down what is wrong with them, and end those that are in no further round."""
        problems = await asyncio.gather(*(_went_on(act.story, self.strike) for act in acts))
        untold = await asyncio.gather(*(self._untold(act, cell) for act, cell in zip(acts, cells, strict=True)))
        entries = await asyncio.to_thread(self._ledger.read)
        seen = await asyncio.to_thread(self.arena.seen)
        for act, cell, found, missing in zip(acts, cells, problems, untold, strict=True):
            story = act.story
            cell.acknowledged, cell.cut = len(story.acknowledged), len(story.cut)
            cell.problems += (
                found + missing + story.problems(seen, repeats=self.strike.repeats) + self._logged(entries, act, cell)
            )
            cell.problems += self.arena.lab.witness.at_once(story.uid)
        assert self.arena.model() == self._model, "the model's stand-in was started anew: what it had seen is lost"
        await self._end(acts, cells)

    def _logged(self, entries: Sequence[Json], act: Act, cell: Cell) -> list[str]:
        """Take down how much was written; return what is wrong by the API server's own log."""
        if not self._ledger.known:
            return []
        cell.writes = ledger.writes(entries, act.story.name)
        out = ledger.at_once(self._ledger.entries, act.story.name, self.arena.lab.operator.dawns)
        return out + ([f"{cell.writes} writes about it"] if cell.writes > MOST_WRITES else [])

    async def _end(self, acts: Sequence[Act], cells: Sequence[Cell]) -> None:
        """Delete the sessions that are in no further round, and write down what stays of them."""
        leaving = self._cast.leave(acts, TOGETHER if self.strike.ends_hosts else LONG)
        over = [(act, cell) for act, cell in zip(acts, cells, strict=True) if act in leaving]
        ended = await asyncio.gather(*(_ended(act.story) for act, _ in over))
        stored = await asyncio.to_thread(self.arena.stored)
        for (act, cell), left in zip(over, ended, strict=True):
            cell.problems += left + ["its conversation is still stored"] * (act.story.uid in stored)


async def end(cast: Cast) -> list[list[str]]:
    """Delete all that are left, and return what stays of those of which something does."""
    return [problems for problems in await asyncio.gather(*map(_ended, cast.all())) if problems]


async def _went_on(story: Story, strike: Strike) -> list[str]:
    """Go on with a session, and return why not if that cannot be done, or not in the stated time (seconds)."""
    began = time.monotonic()
    try:
        if not story.deleted and not await _answered(story, 2 if strike.cuts else 1):
            return ["afterwards a turn was cut"]
    except Exception as error:
        return [f"afterwards: {_told(error)}"]
    took, stated = time.monotonic() - began, strike.seconds
    return [f"afterwards it took {took:.0f} s, and {stated:.0f} s were stated"] if took > stated else []


async def _answered(story: Story, tries: int) -> bool:
    """Return whether a message is answered; of a fault that cuts turns the first may come while the host still goes."""
    for _ in range(tries):
        done = len(story.acknowledged)
        await story.say({"text": "ok"})
        if len(story.acknowledged) > done:
            return True
    return False


async def _ended(story: Story) -> list[str]:
    """End a session, and return what stays of it."""
    try:
        return await asyncio.to_thread(story.end)
    except Exception as error:
        return [f"at its end: {_told(error)}"]


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:400]
