"""Which sessions are in a round of the fault matrix, and which of its moments are played."""

from itertools import count
from typing import Any, cast

from faults.cast import Act, Cast
from faults.drawing import Goal
from faults.moments import MOMENTS, Moment
from faults.record import Cell
from faults.story import Story


def make_cast() -> Cast:
    nobody, numbers = cast("Any", None), count()
    return Cast(lambda name: Story(nobody, nobody, f"{name}-{next(numbers)}"))


def names(acts: list[Act]) -> dict[str, str]:
    return {act.moment.name: act.story.name for act in acts}


def some(*found: str) -> list[Moment]:
    return [one for one in MOMENTS if one.name in found]


def test_every_moment_has_a_session_of_its_own() -> None:
    acts = make_cast().enter([*MOMENTS, *MOMENTS])
    assert len({act.story.name for act in acts}) == 2 * len(MOMENTS)


def test_who_is_alive_goes_on_to_another_moment() -> None:
    company = make_cast()
    first = company.enter(some("idle"))
    assert company.leave(first, 3) == []
    assert names(company.enter(some("wake")))["wake"] == names(first)["idle"]


def test_no_session_is_there_yet_where_none_is_to_be() -> None:
    company = make_cast()
    company.leave(company.enter(some("idle")), 3)
    assert names(company.enter(some("create", "first turn"))) == {"create": "create-1", "first turn": "first-turn-2"}


def test_what_is_deleted_has_been_in_most_rounds_and_is_over() -> None:
    company = make_cast()
    assert company.leave(company.enter(some("idle", "wake")), 5) == []
    (before,) = company.enter(some("idle"))
    assert company.leave([before], 5) == []
    acts = company.enter(some("idle", "delete"))
    assert names(acts)["delete"] == before.story.name
    assert [act.moment.name for act in company.leave(acts, 5)] == ["delete"]


def test_who_has_been_in_so_many_rounds_is_over() -> None:
    company = make_cast()
    (act,) = company.enter(some("idle"))
    assert company.leave([act], 1) == [act]
    assert company.all() == []


def test_no_more_are_kept_than_a_round_has_needed() -> None:
    company = make_cast()
    acts = company.enter(some("create", "first turn", "idle"))
    assert len(company.leave(acts, 5)) == 2
    assert len(company.all()) == 1


def cells(moment: str, hit: int, missed: int = 0) -> list[Cell]:
    return [Cell("a", moment, number < hit, 0, []) for number in range(hit + missed)]


def played(goal: Goal, *found: Cell) -> dict[str, int]:
    moments = [one.name for one in goal.moments(found)]
    return {name: moments.count(name) for name in moments}


def test_all_moments_are_played_until_each_was_hit_so_often() -> None:
    goal = Goal(3, copies=2)
    assert played(goal) == {one.name: 2 for one in MOMENTS}
    lacking = played(goal, *cells("idle", 2), *cells("wake", 3))
    assert (lacking["idle"], "wake" in lacking, lacking["delete"]) == (1, False, 2)


def test_what_stands_in_the_page_counts() -> None:
    before = {one.name: 4 for one in MOMENTS} | {"suspend": 1}
    assert played(Goal(4, copies=2, before=before)) == {"suspend": 2}
    assert played(Goal(4, copies=2, before=before), *cells("suspend", 3)) == {}


def test_a_moment_that_is_not_hit_is_given_up() -> None:
    goal = Goal(4, copies=9, before={one.name: 4 for one in MOMENTS if one.name != "wake"})
    assert played(goal, *cells("wake", 0, missed=4)) == {"wake": 2}
    assert played(goal, *cells("wake", 0, missed=6)) == {}
