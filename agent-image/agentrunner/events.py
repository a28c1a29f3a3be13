"""The pod's log: one JSON object a line on stdout. What the agent says appears only when content is included."""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

MAX_CONTENT = 2000
_MAX_STDERR_LINES = 200


class EventLog:
    """Writes events; every line names the session and the attempt."""

    def __init__(
        self,
        *,
        include_content: bool = False,
        stream: TextIO | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._include = include_content
        self._stream = stream or sys.stdout
        self._now = now
        self._common: dict[str, Any] = {}
        self._scrub: Callable[[str], str] = lambda line: line[:MAX_CONTENT]
        self._stderr_lines = 0

    def bind(self, scrub: Callable[[str], str], *, include_content: bool, **common: Any) -> None:
        """Set what every further line carries, and how foreign lines are cleaned."""
        self._scrub, self._include, self._common = scrub, include_content, common

    def emit(self, event: str, content: dict[str, str] | None = None, **fields: Any) -> None:
        """Write one line; `content` is left out unless the session asked for it, and cut in any case."""
        line = {"time": self._now().isoformat(timespec="milliseconds"), "event": event, **self._common}
        line |= {name: value for name, value in fields.items() if value is not None}
        if self._include and content:
            line |= {name: text[:MAX_CONTENT] for name, text in content.items()}
        print(json.dumps(line, ensure_ascii=True), file=self._stream, flush=True)

    def cli_stderr(self, line: str) -> None:
        """Write one line that the CLI said on its stderr, cleaned, up to a bound."""
        self._stderr_lines += 1
        if self._stderr_lines <= _MAX_STDERR_LINES:
            self.emit("stderr", line=self._scrub(line))
        elif self._stderr_lines == _MAX_STDERR_LINES + 1:
            self.emit("stderr", line="further lines are left out")


class LibraryHandler(logging.Handler):
    """Turns warnings of libraries into events, so that nothing reaches the log around the scrubber."""

    def __init__(self, log: EventLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's logger, level and cleaned text."""
        self._log.cli_stderr(f"{record.name} {record.levelname}: {record.getMessage()}")
