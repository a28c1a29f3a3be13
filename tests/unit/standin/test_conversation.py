"""Finding the place in a conversation."""

from typing import Any

import pytest

from standin.conversation import Position, digest, locate, prompt_digests
from standin.script import Step

SCRIPT = '<<script [{"text": "one"}, {"text": "two"}] script>>'
STEPS = (Step(text="one"), Step(text="two"))


def _user(*texts: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def _result() -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": SCRIPT}]}


def _answer(text: str = "x") -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


REMINDER = "<system-reminder>\nSomething.\n</system-reminder>"


@pytest.mark.parametrize(
    ("messages", "position"),
    [
        pytest.param([], Position(None, 0, 0), id="nothing"),
        pytest.param([{"role": "user", "content": SCRIPT}], Position(STEPS, 0, 0), id="plain-text"),
        pytest.param([_user(REMINDER, SCRIPT)], Position(STEPS, 0, 0), id="wrapped-in-reminders"),
        pytest.param([_user(SCRIPT), _answer(), _result()], Position(STEPS, 1, 0), id="after-a-tool"),
        pytest.param(
            [_user(SCRIPT), _answer(), _user("Continue."), _answer("more")],
            Position(STEPS, 2, 0),
            id="continued-without-a-script",
        ),
        pytest.param(
            [_user(SCRIPT), _answer("No response requested."), _user("Continue.")],
            Position(STEPS, 0, 0),
            id="repaired-by-the-cli",
        ),
        pytest.param(
            [_user(SCRIPT), _answer(), _answer(), _user(SCRIPT), _answer()], Position(STEPS, 1, 3), id="second-turn"
        ),
        pytest.param([_user("Hello."), _answer(), _result()], Position(None, 1, 0), id="no-script"),
        pytest.param([_user("Hello."), _answer(), _user("Again.")], Position(None, 0, 2), id="no-script-second-turn"),
        pytest.param([_user("Hello."), _answer(), _user(REMINDER)], Position(None, 1, 0), id="a-reminder-is-no-prompt"),
    ],
)
def test_the_place_is_found(messages: list[dict[str, Any]], position: Position) -> None:
    assert locate(messages) == position


def test_prompts_are_told_apart_in_order_without_reminders_and_tool_results() -> None:
    messages = [_user(REMINDER, " one\n"), _answer(), _result(), _answer(), _user(REMINDER), _user("two")]
    assert prompt_digests(messages) == (digest("one"), digest("two"))
    assert digest("one") != digest("two")
