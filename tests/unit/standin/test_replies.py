"""Choosing an answer."""

from typing import Any

import pytest

from standin.conversation import Position
from standin.ledger import Ledger
from standin.replies import DEFAULT, PAST_THE_END, choose, side_answer
from standin.script import Failure, Step

ERROR = Step(error=Failure(times=2))
ONE, TWO = Step(text="one"), Step(text="two")


def _never(_: int, __: int | None) -> bool:
    return False


def _always(_: int, __: int | None) -> bool:
    return True


@pytest.mark.parametrize(("answered", "step"), [(0, ONE), (1, TWO), (2, PAST_THE_END)])
def test_each_answer_takes_the_next_step(answered: int, step: Step) -> None:
    assert choose(Position((ONE, TWO), answered, 0), frozenset(), _always) == step


@pytest.mark.parametrize(("answered", "step"), [(0, ONE), (1, ERROR), (2, PAST_THE_END)])
def test_an_error_that_is_due_comes_before_the_step_behind_it(answered: int, step: Step) -> None:
    assert choose(Position((ONE, ERROR, TWO), answered, 0), frozenset(), _always) == step


def test_an_error_that_was_given_often_enough_takes_no_place() -> None:
    assert choose(Position((ONE, ERROR, TWO), 1, 0), frozenset(), _never) == TWO


def test_errors_are_counted_by_session_turn_and_step() -> None:
    ledger = Ledger()
    given = [ledger.take_error("a", 0, 1, 2) for _ in range(3)]
    others = [ledger.take_error("b", 0, 1, 2), ledger.take_error("a", 4, 1, 2), ledger.take_error("a", 0, 2, 2)]
    assert (given, others) == ([True, True, False], [True, True, True])


def test_without_a_script_a_tool_is_used_and_then_a_sentence_said() -> None:
    tools = frozenset({"Bash", "Read"})
    steps = [choose(Position(None, n, 0), tools, _never) for n in range(2)]
    assert steps == list(DEFAULT)


def test_without_a_shell_the_friendly_answer_says_so() -> None:
    assert choose(Position(None, 0, 0), frozenset({"Read"}), _never).calls == ()


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        pytest.param({"tools": [], "messages": []}, None, id="a-session-without-tools"),
        pytest.param({"tools": [{"name": "Bash"}], "output_config": {"format": {"schema": {}}}}, None, id="has-tools"),
        pytest.param(
            {
                "output_config": {
                    "format": {
                        "type": "json_schema",
                        "schema": {
                            "type": "object",
                            "properties": {"title": {"type": "string"}, "isNew": {"type": "boolean"}},
                        },
                    }
                }
            },
            '{"title": "stand-in", "isNew": false}',
            id="a-title",
        ),
    ],
)
def test_the_clis_own_questions_are_answered_by_their_schema(request_: dict[str, Any], answer: str | None) -> None:
    assert side_answer(request_) == answer
