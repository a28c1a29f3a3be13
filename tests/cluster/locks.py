"""A lock held by one process at a time, freed by the kernel when that process ends in whatever way."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.progress import say


@contextmanager
def exclusive(path: Path, waiting_for: str) -> Iterator[None]:
    """Hold the lock file; say what we wait for when somebody else has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"  waiting for {waiting_for} by another process …")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
