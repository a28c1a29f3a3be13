"""Removes secrets and prompt text from lines that others wrote, before they reach the log. Pure."""

import re
from collections.abc import Callable, Mapping

MASK = "[removed]"
MAX_LINE = 400
_MIN_SECRET, _MIN_PROMPT_LINE = 8, 12
_PATTERNS = (
    re.compile(r"sk-ant-[A-Za-z0-9_-]+"),
    re.compile(r"(?i)(?<=bearer )[^\s\"',]+"),
    re.compile(r"(?i)(?<=x-api-key[:=] )[^\s\"',]+"),
    re.compile(r"(?<=://)[^/\s@]+(?=@)"),
)
_SECRET_NAME = re.compile(r"(?i)key|token|secret|password|credential")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def make_scrubber(environment: Mapping[str, str], prompt: str) -> Callable[[str], str]:
    """Return a function that cuts a line, and masks keys, secret-looking variables' values and prompt lines."""
    secrets = {v for k, v in environment.items() if _SECRET_NAME.search(k) and len(v) >= _MIN_SECRET}
    spoken = {line.strip() for line in prompt.splitlines() if len(line.strip()) >= _MIN_PROMPT_LINE}
    # Longest first, so that a value which contains another one is masked whole.
    words = sorted(secrets | spoken, key=len, reverse=True)

    def scrub(line: str) -> str:
        for word in words:
            line = line.replace(word, MASK)
        for pattern in _PATTERNS:
            line = pattern.sub(MASK, line)
        return _CONTROL.sub(" ", line)[:MAX_LINE]

    return scrub
