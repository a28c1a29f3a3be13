"""The script language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standin.script import Failure, ScriptError, Slow, Step, Tokens, ToolCall, parse_script


def test_a_prompt_without_a_script_has_none() -> None:
    assert parse_script("Just do it.") is None


def test_every_kind_of_step_is_read() -> None:
    text = """Do this: <<script [
        {"text": "hello", "thinking": "hm", "delay": 0.5, "usage": {"input": 10, "output": 2, "cacheRead": 3}},
        {"tool": "Bash", "input": {"command": "ls"}},
        {"text": "both", "tools": [{"tool": "A"}, {"tool": "B", "input": {"x": 1}}]},
        {"error": {"status": 429, "type": "rate_limit_error", "times": 2, "retryAfter": 1}},
        {"slow": {"seconds": 2, "chunks": 3}, "stopReason": "max_tokens"},
        {"text": "half", "cut": true}
    ] script>> please."""
    assert parse_script(text) == (
        Step(text="hello", thinking="hm", delay=0.5, usage=Tokens(input=10, output=2, cache_read=3)),
        Step(tool="Bash", input={"command": "ls"}),
        Step(text="both", tools=(ToolCall(tool="A"), ToolCall(tool="B", input={"x": 1}))),
        Step(error=Failure(status=429, type="rate_limit_error", times=2, retry_after=1)),
        Step(slow=Slow(seconds=2, chunks=3), stop_reason="max_tokens"),
        Step(text="half", cut=True),
    )


def test_large_values_are_written_short() -> None:
    text = '<<script [{"tool": "Write", "input": {"content": {"$repeat": "ab", "times": 3}}}] script>>'
    assert parse_script(text) == (Step(tool="Write", input={"content": "ababab"}),)


def test_the_last_script_counts() -> None:
    text = '<<script [{"text": "old"}] script>> and <<script [{"text": "new"}] script>>'
    assert parse_script(text) == (Step(text="new"),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<<script []", "no end"),
        ("<<script [{] script>>", "not JSON"),
        ('<<script [{"txt": "typo"}] script>>', "txt"),
        ("<<script [{}] script>>", "must have one of"),
        ('<<script [{"error": {"status": 200}}] script>>', "status"),
    ],
)
def test_a_bad_script_is_an_error_that_says_where(text: str, says: str) -> None:
    with pytest.raises(ScriptError, match=says):
        parse_script(text)


@given(st.text())
def test_any_text_is_a_script_or_none_or_an_error(text: str) -> None:
    try:
        steps = parse_script(f"<<script {text} script>>")
    except ScriptError:
        return
    assert isinstance(steps, tuple)
