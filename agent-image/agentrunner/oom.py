"""Counts processes of this container that the kernel killed for want of memory (cgroup v1 and v2)."""

from collections.abc import Callable
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
_FILES = ("memory.events", "memory/memory.oom_control")


def parse(text: str) -> int | None:
    """Return the `oom_kill` counter in a cgroup file, or None without one."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.strip().isdigit():
            return int(value)
    return None


def count(root: Path = CGROUP) -> int:
    """Return the number of kills so far; 0 where the container cannot see its own cgroup."""
    for name in _FILES:
        try:
            found = parse((root / name).read_text())
        except OSError:
            continue
        if found is not None:
            return found
    return 0


class Watch:
    """Tells what was killed of late from what was killed long ago, by a look at the counter now and then."""

    def __init__(self, root: Path = CGROUP) -> None:
        self._root = root
        self._earlier = self._last = count(root)

    def look(self) -> None:
        """Take note of the counter."""
        self._earlier, self._last = self._last, count(self._root)

    def recent(self) -> int:
        """Return the number of kills since the look before the last: one may come between a kill and what it ends."""
        return max(0, count(self._root) - self._earlier)


def counter(root: Path = CGROUP) -> Callable[[], int]:
    """Return what counts the kills from now on."""
    before = count(root)
    return lambda: max(0, count(root) - before)
