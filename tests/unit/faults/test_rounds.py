"""When a fault has hit a moment: it found something to strike at before that was over, and was not too slow to heal."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from faults.cast import Act
from faults.moments import Act as During
from faults.moments import Moment
from faults.record import Cell
from faults.rounds import Rounds, _went_on
from faults.story import Story
from faults.strikes import Strike


class Nobody:
    """An arena without a cluster."""

    cast = None

    def ledger(self) -> None:
        """Return nothing: nothing is read in these tests."""

    def model(self) -> str:
        """Return one process."""
        return "one"


def during(seconds: float, error: str = "") -> During:
    async def runs(story: Story) -> None:
        await asyncio.sleep(seconds)
        if error:
            raise AssertionError(error)

    return runs


async def through(strike: Strike, act: During, shared: Callable[[], Awaitable[float]] | None = None) -> Cell:
    async def nothing() -> float:
        return 0.0

    nobody = cast("Any", Nobody())
    story = Story(nobody, nobody, "one", uid="u")
    rounds = Rounds(nobody, strike, random.Random(1))
    struck = asyncio.ensure_future((shared or nothing)())
    return await rounds._through(Act(Moment("idle", act, act, lasts=0.01), story), cast("Any", struck), wait=0)


def own(*found: bool) -> Strike:
    answers = list(found)
    return Strike("a", "a", own=lambda arena, story: answers.pop(0), reach=lambda story: True)


async def test_a_fault_that_finds_something_has_hit() -> None:
    cell = await through(own(True), during(0.3))
    assert (cell.hit, cell.problems) == (True, [])
    assert cell.seconds > 0


@pytest.mark.parametrize(("since", "hit"), [(-10.0, False), (0.0, True), (10.0, False)])
async def test_a_fault_that_tells_when_it_struck_has_hit_what_went_on_then(since: float, hit: bool) -> None:
    strike = Strike("a", "a", own=lambda arena, story: time.time() + since, reach=lambda story: True)
    assert (await through(strike, during(0.3))).hit is hit


async def test_a_fault_tries_again_until_it_finds_something() -> None:
    assert (await through(own(False, False, True), during(1))).hit


async def test_a_fault_that_finds_nothing_until_the_moment_is_over_has_not_hit() -> None:
    cell = await through(Strike("a", "a", own=lambda arena, story: False, reach=lambda story: True), during(0.1))
    assert (cell.hit, cell.seconds) == (False, 0.0)


async def test_a_fault_that_is_never_in_reach_has_not_hit() -> None:
    assert not (
        await through(Strike("a", "a", own=lambda arena, story: True, reach=lambda story: False), during(0.1))
    ).hit


@pytest.mark.parametrize(("delay", "hit"), [pytest.param(0.0, True, id="within"), pytest.param(0.5, False, id="after")])
async def test_a_shared_fault_after_the_end_has_hit_something_else(delay: float, hit: bool) -> None:
    async def shared() -> float:
        await asyncio.sleep(delay)
        return asyncio.get_running_loop().time()

    assert (await through(Strike("a", "a", shared=lambda arena: None), during(0.2), shared)).hit is hit


async def test_what_takes_longer_than_was_stated_is_wrong() -> None:
    strike = Strike("a", "a", own=lambda arena, story: True, reach=lambda story: True, seconds=0.1)
    (problem,) = (await through(strike, during(0.5))).problems
    assert "were stated" in problem


async def test_what_does_not_go_on_is_wrong() -> None:
    assert (await through(own(True), during(0.1, "no answer"))).problems == ["AssertionError: no answer"]


@pytest.mark.parametrize(
    ("cuts", "outcomes", "wrong"),
    [
        pytest.param(False, ["done"], [], id="answered"),
        pytest.param(False, ["cut", "done"], ["afterwards a turn was cut"], id="cut-by-what-cuts-none"),
        pytest.param(True, ["cut", "done"], [], id="cut-while-the-host-still-went"),
        pytest.param(True, ["cut", "cut"], ["afterwards a turn was cut"], id="cut-again"),
    ],
)
async def test_the_next_message_is_answered(cuts: bool, outcomes: list[str], wrong: list[str]) -> None:
    class Told(Story):
        async def say(self, *steps: object) -> None:
            (self.acknowledged if (outcome := outcomes.pop(0)) == "done" else self.cut).append(outcome)

    story = Told(cast("Any", None), cast("Any", None), "one", uid="u")
    assert await _went_on(story, Strike("a", "a", cuts=cuts)) == wrong
