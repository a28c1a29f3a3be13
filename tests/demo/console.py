"""What the person at the terminal reads: numbered steps, indented lines, commands to try. Plain text, little colour."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_BOLD, _DIM, _END = "\033[1m", "\033[2m", "\033[0m"


class Console:
    """Writes to standard output; colours only where it is a terminal and NO_COLOR is unset."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._number = 0
        self._start = time.monotonic()
        self._colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    @contextmanager
    def step(self, title: str, expectation: str = "") -> Iterator[None]:
        """Say what comes and how long it takes before it begins, and how long it took once it is done."""
        self._number += 1
        begin = time.monotonic()
        self.line("")
        self.line(self._bold(f"[{self._number}/{self._steps}] {title}") + (f"  ({expectation})" if expectation else ""))
        yield
        self.line(self._dim(f"      done in {time.monotonic() - begin:.1f} s"))

    def say(self, text: str) -> None:
        """Say something about the step."""
        self.line(f"      {text}")

    def command(self, text: str) -> None:
        """Show a command as the person would type it."""
        self.line(self._bold(f"      $ {text}"))

    def block(self, text: str) -> None:
        """Show a program's output or a file."""
        for line in text.rstrip().splitlines():
            self.line(f"        {line}")

    def heading(self, text: str) -> None:
        """Open a part that is no step."""
        self.line("")
        self.line(self._bold(text))

    def event(self, seconds: float, who: str, text: str) -> None:
        """Show what happened when: seconds since the session was created, who, what."""
        self.line(f"      {seconds:6.1f} s  {who:<8} {text}")

    def elapsed(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._start

    def line(self, text: str) -> None:
        """Write one line now."""
        print(text, flush=True)

    def _bold(self, text: str) -> str:
        return f"{_BOLD}{text}{_END}" if self._colour else text

    def _dim(self, text: str) -> str:
        return f"{_DIM}{text}{_END}" if self._colour else text
