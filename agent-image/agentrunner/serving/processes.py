"""Processes of a session, from /proc: who descends from whom, what they hold, whether one of them listens on a port.

Every read may fail at any time, since processes come and go while we look.
"""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
_LISTEN = "0A"
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants; empty if it is gone."""
    parents = dict(_parents())
    if pid not in parents:
        return []
    family = [pid]
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    return family


def memory(pids: Iterable[int]) -> int:
    """Return the bytes that processes hold, shared pages by their share where the kernel says it."""
    return sum(_proportional(pid) or _resident(pid) for pid in pids)


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time of processes, with that of children they have waited for."""
    return sum(sum(int(ticks) for ticks in fields[11:15]) / _TICKS for pid in pids if (fields := _stat(pid)))


def listens(pids: Iterable[int], port: int) -> bool:
    """Return whether one of the processes has a TCP socket that listens on the port."""
    wanted = set(_listening(port))
    return bool(wanted) and any(inode in wanted for pid in pids for inode in _sockets(pid))


def kill_tree(pid: int) -> None:
    """Kill a process and all its descendants."""
    for member in tree(pid):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(member, signal.SIGKILL)


def _parents() -> Iterator[tuple[int, int]]:
    """Yield every process with its parent."""
    for entry in PROC.iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            yield int(entry.name), int(fields[1])


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat after the name, which may hold anything; the first is the state."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return []


def _proportional(pid: int) -> int:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _resident(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[21]) * _PAGE if fields else 0


def _listening(port: int) -> Iterator[str]:
    """Yield the inodes of sockets that listen on the port."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _sockets(pid: int) -> Iterator[str]:
    """Yield the inodes of a process's sockets."""
    try:
        descriptors = list((PROC / str(pid) / "fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        with suppress(OSError):
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                yield target[8:-1]
