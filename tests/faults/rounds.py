"""A round: sessions in different moments, one fault, and what became of all of it."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from faults.arena import Arena
from faults.moments import LONGEST, Moment
from faults.record import Cell
from faults.story import Story
from faults.strikes import Strike


@dataclass
class Rounds:
    """The rounds of one fault. Sessions that can be used again are."""

    arena: Arena
    strike: Strike
    chance: random.Random
    stories: dict[str, Story] = field(default_factory=dict)

    async def play(self, moments: Sequence[Moment]) -> list[Cell]:
        """Bring sessions to their moments, strike, wait until they have gone on, and look at what became of them."""
        stories = [self._story(one) for one in moments]
        await asyncio.gather(*(one.before(story) for one, story in zip(moments, stories, strict=True)))
        struck = asyncio.create_task(self._strike_shared())
        pairs = zip(moments, stories, strict=True)
        cells = await asyncio.gather(*(self._through(one, story, struck) for one, story in pairs))
        await asyncio.to_thread(self.arena.heal)
        for cell, story in zip(cells, stories, strict=True):
            cell.problems += await self._afterwards(story)
            cell.acknowledged, cell.cut = len(story.acknowledged), len(story.cut)
        return cells

    def _story(self, moment: Moment) -> Story:
        if moment.fresh or moment.name not in self.stories:
            self.stories[moment.name] = self.arena.story(f"{self.strike.slug}-{moment.slug}")
        return self.stories[moment.name]

    async def _through(self, moment: Moment, story: Story, shared: "asyncio.Task[float]") -> Cell:
        """Do what the moment does while the fault strikes; all that the fault may do to it is to make it slow."""
        own = asyncio.create_task(self._strike_own(story))
        problems: list[str] = []
        try:
            await moment.during(story)
        except Exception as error:
            problems.append(_told(error))
        ended = time.monotonic()
        hit, struck = await own or await shared, max(await own, await shared)
        return Cell(self.strike.name, moment.name, hit > 0, max(ended - struck, 0.0), problems)

    async def _strike_own(self, story: Story) -> float:
        """Strike at a session's own pod, at a moment of its own; return when (monotonic), 0 if nothing was hit."""
        if self.strike.own is None:
            return 0.0
        await asyncio.sleep(self.chance.uniform(0, LONGEST))
        hit = await asyncio.to_thread(self.strike.own, self.arena, story)
        return time.monotonic() if hit else 0.0

    async def _strike_shared(self) -> float:
        """Strike at what is shared; return when (monotonic), 0 if there is nothing to do."""
        if self.strike.shared is None:
            return 0.0
        await asyncio.sleep(self.chance.uniform(0, LONGEST))
        at = time.monotonic()
        await asyncio.to_thread(self.strike.shared, self.arena)
        return at

    async def _afterwards(self, story: Story) -> list[str]:
        """Go on with the session, and return what is wrong with it."""
        try:
            if not story.deleted:
                await story.say({"text": "ok"})
            return await asyncio.to_thread(story.problems)
        except Exception as error:
            return [f"afterwards: {_told(error)}"]


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:400]
