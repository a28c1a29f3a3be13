"""Counts processes of this container that the kernel killed for want of memory (cgroup v1 and v2)."""

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
