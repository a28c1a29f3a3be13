"""Cleaning lines that others wrote."""

import pytest

from agentrunner.scrub import MAX_LINE, make_scrubber

SCRUB = make_scrubber(
    {"ANTHROPIC_API_KEY": "placeholder", "DB_PASSWORD": "hunter2hunter2", "PATH": "/usr/bin", "A_TOKEN": "abc"},
    "Translate the annual report.\nYes\n  Keep the tables as they are.  ",
)


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        ("a harmless line", "a harmless line"),
        ("key sk-ant-api03-AbC_d-9 used", "key [removed] used"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [removed]"),
        ("x-api-key: 123", "x-api-key: [removed]"),
        ("proxy http://user:pass@proxy:3128/", "proxy http://[removed]@proxy:3128/"),
        ("login with hunter2hunter2 failed", "login with [removed] failed"),
        ("said: Keep the tables as they are.", "said: [removed]"),
        ("Yes, /usr/bin, abc", "Yes, /usr/bin, abc"),
        ("two\rlines\x1b[31m", "two lines [31m"),
    ],
)
def test_secrets_prompts_and_control_characters_are_removed(line: str, clean: str) -> None:
    assert SCRUB(line) == clean


def test_a_line_is_bounded() -> None:
    assert SCRUB("x" * 5000) == "x" * MAX_LINE
