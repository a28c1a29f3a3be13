"""Running other programs to their end. Owns PATH and the error text of a failed command; starts no daemons."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from cluster.errors import ClusterError

SYSTEM_DIRECTORIES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


class Runner(Protocol):
    """Runs one command and returns what it printed."""

    def __call__(self, command: Sequence[str | Path], *, stdin: str | None = None) -> str:
        """Raise ClusterError when the command fails."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment with the system directories on PATH (root's shells often lack /usr/sbin)."""
    path = os.environ.get("PATH", "").split(":")
    missing = [directory for directory in SYSTEM_DIRECTORIES if directory not in path]
    return {**os.environ, "PATH": ":".join([*path, *missing]), **(extra or {})}


def run(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> str:
    """Run to the end and return stdout; raise ClusterError with the last lines it printed."""
    words = [str(word) for word in command]
    try:
        result = subprocess.run(
            words, input=stdin, cwd=cwd, env=environment(env), timeout=timeout, text=True, capture_output=True
        )
    except FileNotFoundError:
        raise ClusterError(f"{words[0]}: no such program on PATH") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{' '.join(words)}: not done after {timeout:.0f} s") from None
    if result.returncode != 0:
        raise ClusterError(f"{' '.join(words)}: exit code {result.returncode}\n{_tail(result.stderr or result.stdout)}")
    return result.stdout


def succeeds(command: Sequence[str | Path]) -> bool:
    """Whether the command ran and ended with exit code 0."""
    try:
        run(command)
    except ClusterError:
        return False
    return True


def _tail(text: str, lines: int = 12) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
