"""Runs a command and keeps its output for the moment it fails."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from images.errors import BuildFailed

_TAIL = 40


def run(command: Sequence[str | Path], *, verbose: bool = False) -> None:
    """Run a command to its end; raise BuildFailed with the end of its output when it fails."""
    words = [str(word) for word in command]
    lines: list[str] = []
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if verbose:
                sys.stderr.write(line)
    if process.returncode != 0:
        said = "" if verbose else ":\n" + "".join(lines[-_TAIL:])
        raise BuildFailed(f"'{' '.join(words[:2])}' failed with exit code {process.returncode}{said}")


def succeeds(command: Sequence[str]) -> bool:
    """Return whether a command can be run and succeeds."""
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
