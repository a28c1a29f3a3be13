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
    _doomed: set[str] = field(default_factory=set)

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
        own, cut = asyncio.create_task(self._strike_own(story)), len(story.cut)
        problems: list[str] = []
        try:
            await moment.during(story)
        except Exception as error:
            problems.append(_told(error))
        ended = time.monotonic()
        if len(story.cut) > cut and not self.strike.cuts:
            problems.append("a turn was cut")
        hit = await own > 0 or (await shared > 0 and self._concerns(story))
        struck = max(await own, await shared)
        return Cell(self.strike.name, moment.name, hit, max(ended - struck, 0.0), problems)

    def _concerns(self, story: Story) -> bool:
        """Return whether a shared fault hit what the session stands on: its node, or what all of them use."""
        return not self.strike.node or story.name in self._doomed

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
        if self.strike.node:
            self._doomed = await asyncio.to_thread(self._on_doomed_node)
        at = time.monotonic()
        await asyncio.to_thread(self.strike.shared, self.arena)
        return at

    def _on_doomed_node(self) -> set[str]:
        """Return the sessions whose pod is on the node that is about to be struck."""
        node = self.arena.doomed()
        return {story.name for story in self.stories.values() if story.node() == node}

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
