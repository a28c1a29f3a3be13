"""Processes of a session, from /proc: who descends from whom, what they hold, whether one of them listens on a port.

Every read may fail at any time, since processes come and go while we look.
"""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
_LISTEN = "0A"
_LOOPBACK4, _LOOPBACK6 = "127.0.0.1", "::1"
_REACHED_AT = {
    "0100007F": _LOOPBACK4,
    "00000000": _LOOPBACK4,
    "0" * 32: _LOOPBACK4,
    "0000000000000000FFFF00000100007F": _LOOPBACK4,
    "00000000000000000000000001000000": _LOOPBACK6,
}
"""Local addresses as the kernel writes them, and where a call from the same pod reaches them.

Where a program listens on `localhost`, that may be either of the two.
"""
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_KILLS, _KILL_PAUSE = 20, 0.05
"""How often, and seconds in between."""


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants; empty if it is gone."""
    parents = dict(_parents())
    if pid not in parents:
        return []
    family = [pid]
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    return family


def of_session(config: Path, pid: int | None) -> list[int]:
    """Return a session's processes: its CLI with all descendants, and what it has left running in the background.

    Such a process loses its parent, but keeps the environment that it was started with.
    """
    mark = b"CLAUDE_CONFIG_DIR=" + os.fsencode(config)
    family, ours = tree(pid) if pid is not None else [], set(_ancestors(os.getpid()))
    marked = [member for member, _ in _parents() if member not in ours and mark in _environment(member)]
    return list(dict.fromkeys(family + marked))


def memory(pids: Iterable[int]) -> int:
    """Return the bytes that processes hold, shared pages by their share where the kernel says it."""
    return sum(_proportional(pid) or _resident(pid) for pid in pids)


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time of processes, with that of children they have waited for."""
    return sum(sum(int(ticks) for ticks in fields[11:15]) / _TICKS for pid in pids if (fields := _stat(pid)))


def listens(pids: Iterable[int], port: int) -> str | None:
    """Return the loopback address at which one of the processes serves the port; None if none does."""
    found = dict(_listening(port))
    held = {inode for pid in pids for inode in _sockets(pid)} if found else set()
    return next((address for inode, address in found.items() if inode in held), None)


def kill_all(pids: Iterable[int]) -> None:
    """Kill processes."""
    for member in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(member, signal.SIGKILL)


def end_all(config: Path) -> None:
    """Kill what is left of a session, until nothing is; it is given a second.

    A process may start another one just before it is killed, which the list did not have.
    """
    for _ in range(_KILLS):
        left = of_session(config, None)
        if not left:
            return
        kill_all(left)
        time.sleep(_KILL_PAUSE)


def _parents() -> Iterator[tuple[int, int]]:
    """Yield every process with its parent."""
    for entry in PROC.iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            yield int(entry.name), int(fields[1])


def _ancestors(pid: int) -> Iterator[int]:
    """Yield a process, its parent, and so on up to the first."""
    while pid > 0:
        yield pid
        fields = _stat(pid)
        pid = int(fields[1]) if fields else 0


def _environment(pid: int) -> list[bytes]:
    """Return the variables that a process was started with, as `NAME=value`."""
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat after the name, which may hold anything; the first is the state."""
    try:
        return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
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


def _listening(port: int) -> Iterator[tuple[str, str]]:
    """Yield the inodes of sockets that listen on the port and are reached by the loopback, and at which address."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            address, _, number = fields[1].rpartition(":")
            if fields[3] == _LISTEN and int(number, 16) == port and address in _REACHED_AT:
                yield fields[9], _REACHED_AT[address]


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
