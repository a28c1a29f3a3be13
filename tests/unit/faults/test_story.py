"""What is wrong with a session, by what the model has seen of it."""

from typing import Any, cast

import pytest

from e2e.api import Json
from faults.story import Story

NOTHING = cast("Any", None)
"""These tests ask nobody: neither cluster nor store."""


def wrong(acknowledged: list[str], prompts: list[str], cut: list[str] | None = None, **begun: int) -> list[str]:
    story = Story(NOTHING, NOTHING, "one", uid="u", acknowledged=acknowledged, cut=cut or [])
    seen: dict[str, Json] = {"u": {"prompts": prompts, "begun": dict.fromkeys(prompts, 1) | begun}}
    return story.problems(seen)


@pytest.mark.parametrize(
    ("acknowledged", "prompts", "problems"),
    [
        pytest.param(["a", "b"], ["a", "b"], [], id="all there"),
        pytest.param(["a", "b"], ["a", "x", "b"], [], id="and one that was cut"),
        pytest.param(["a", "b"], ["b"], ["1 acknowledged turns lost"], id="lost"),
        pytest.param(["a"], ["a", "a"], ["1 turns run twice"], id="twice"),
        pytest.param(["a", "b"], ["b", "a"], ["turns out of order"], id="order"),
        pytest.param(["a"], [], ["a blank conversation: 1 acknowledged turns are not in it"], id="blank"),
    ],
)
def test_what_is_wrong_is_told_by_its_name(acknowledged: list[str], prompts: list[str], problems: list[str]) -> None:
    assert wrong(acknowledged, prompts, cut=["x"]) == problems


def test_a_turn_that_was_cut_and_begun_again_was_run_twice() -> None:
    assert wrong(["a"], ["a"], cut=["c"], c=2) == ["1 turns run twice"]


def test_a_further_answer_in_a_turn_that_was_asked_for_twice_is_wrong() -> None:
    story = Story(NOTHING, NOTHING, "one", uid="u", acknowledged=["a"])
    steps = {"a 0": 1, "a 1": 2, "a 2": 1}
    found = story.problems({"u": {"prompts": ["a"], "begun": {"a": 1}, "steps": steps}})
    assert found == ["1 of the model's further answers in a turn asked for twice"]


def test_a_cli_that_asks_again_by_itself_is_told_from_a_turn_that_two_pods_ran() -> None:
    story = Story(NOTHING, NOTHING, "one", uid="u", acknowledged=["a", "b"])
    seen: dict[str, Json] = {"u": {"prompts": ["a", "b"], "begun": {"a": 2, "b": 2}, "askers": {"a": 1, "b": 2}}}
    assert story.problems(seen) == ["2 turns run twice"]
    assert story.problems(seen, repeats=True) == ["1 turns run twice"]


def test_a_turn_that_nobody_asked_for_is_wrong() -> None:
    assert wrong(["a"], ["a", "s"]) == ["1 turns that nobody asked for"]


def test_a_session_of_which_the_model_has_seen_nothing_is_blank() -> None:
    assert Story(NOTHING, NOTHING, "one", uid="u", acknowledged=["a"]).problems({}) != []
