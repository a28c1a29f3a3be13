"""What counts as success, and reading a session's changes as kubectl prints them."""

import io
import json
from typing import Any

import pytest

from demo import result
from demo.errors import DemoError
from demo.follow import objects
from demo.narrate import is_tool_answer


def session(succeeded: str, **status: Any) -> dict[str, Any]:
    conditions = [
        {"type": "Ready", "status": "True", "reason": "OOMKilled", "message": "Too much."},
        {"type": "Succeeded", "status": succeeded, "reason": "OOMKilled", "message": "Too much."},
    ]
    return {"metadata": {"name": "hello"}, "status": {"conditions": conditions, **status}}


USED = {"result": {"text": "done"}, "usage": {"turns": 2, "inputTokens": 10, "outputTokens": 5, "costUsd": "0.01"}}


def test_a_session_that_succeeded_and_says_all_is_well() -> None:
    good = session("True", **USED)
    result.check(good, 1)
    assert result.summary(good) == "Succeeded in 2 turns: 10 tokens in, 5 out, $0.01 by the price list."


@pytest.mark.parametrize("succeeded", ["False", "Unknown"])
def test_any_other_session_is_a_failure_that_names_its_reason(succeeded: str) -> None:
    with pytest.raises(DemoError, match=r"OOMKilled: Too much\.\n.*troubleshooting"):
        result.check(session(succeeded, **USED), 1)


@pytest.mark.parametrize("missing", ["result", "usage"])
def test_a_success_that_does_not_say_all_is_a_failure(missing: str) -> None:
    with pytest.raises(DemoError, match=missing):
        result.check(session("True", **{key: value for key, value in USED.items() if key != missing}), 1)


def test_a_success_without_a_tool_call_is_a_failure() -> None:
    with pytest.raises(DemoError, match="called no tool"):
        result.check(session("True", **USED), 0)


@pytest.mark.parametrize(
    ("line", "works"),
    [
        ('{"event": "toolResult", "size": 3, "isError": false}', True),
        ('{"event": "toolResult", "size": 3, "isError": true}', False),
        ('{"event": "toolUse"}', False),
        ("no JSON", False),
    ],
)
def test_a_tool_call_counts_if_it_worked(line: str, works: bool) -> None:
    assert is_tool_answer(line) is works


def test_objects_are_read_one_after_the_other() -> None:
    wanted = [{"a": {"b": 1}}, {"c": "}"}, {}]
    text = "\n".join(json.dumps(item, indent=4) for item in wanted)
    assert list(objects(io.StringIO(text.replace("{}", "{\n}") + "\n"))) == wanted
