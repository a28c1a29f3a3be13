"""In the middle of what a fault strikes: the columns of the matrix."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from e2e import manifests
from faults.story import Story

LONGEST = 5.0
"""Seconds that the longest of the moments lasts."""

Act = Callable[[Story], Awaitable[None]]


@dataclass(frozen=True)
class Moment:
    """What a session has been through before, and what it does when the fault strikes.

    `begins`: no session is there before; `ends`: none is there afterwards; `sleeps`: its pod is to go. `lasts` is
    within how many seconds after its beginning a fault strikes: about as long as there is a pod.
    """

    name: str
    before: Act
    during: Act
    begins: bool = False
    ends: bool = False
    sleeps: bool = False
    lasts: float = 3.0

    @property
    def slug(self) -> str:
        """Its name as a part of other names."""
        return self.name.replace(" ", "-")


async def _nothing(story: Story) -> None:
    """There is no session yet."""


async def _applied(story: Story) -> None:
    """It is there, and sleeps."""
    await asyncio.to_thread(story.begin)
    await asyncio.to_thread(story.stage.lab.reason, story.name, "Asleep")


async def _talked(story: Story) -> None:
    """It is awake, with something behind it."""
    if not story.uid:
        await asyncio.to_thread(story.begin)
    await story.say(manifests.say("ok"))


async def _slept(story: Story) -> None:
    """It sleeps, with something behind it."""
    await _talked(story)
    await asyncio.to_thread(story.suspend)


async def _created(story: Story) -> None:
    """It is created, and spoken to at once."""
    await asyncio.to_thread(story.begin)
    await _works(story)


async def _works(story: Story) -> None:
    """A turn with a tool call of two seconds."""
    await story.say(manifests.bash("sleep 2"), manifests.say("ok"))


async def _streams(story: Story) -> None:
    """A turn whose answer comes in pieces over three seconds."""
    await story.say({"text": "piece by piece " * 20, "slow": {"seconds": 0.3, "chunks": 10}})


async def _rests(story: Story) -> None:
    """Nothing happens, and then it is spoken to."""
    await asyncio.sleep(3)
    await story.say(manifests.say("ok"))


async def _suspends(story: Story) -> None:
    await asyncio.to_thread(story.suspend)


async def _deletes(story: Story) -> None:
    await asyncio.to_thread(story.delete)


MOMENTS = (
    Moment("create", _nothing, _created, begins=True, lasts=LONGEST),
    Moment("first turn", _applied, _works, begins=True, lasts=LONGEST),
    Moment("streaming", _talked, _streams),
    Moment("tool call", _talked, _works),
    Moment("idle", _talked, _rests),
    Moment("suspend", _talked, _suspends, sleeps=True, lasts=1),
    Moment("wake", _slept, _works, lasts=LONGEST),
    Moment("delete", _talked, _deletes, ends=True, sleeps=True, lasts=1),
)
