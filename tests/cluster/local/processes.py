"""Long-running processes: started in the background, known by pid and start time, stopped by exactly that.

A record is one line, `PID START`, written by the process itself before it becomes the program, so that none is
ever running without a record. START is the kernel's start time: a recycled pid has another one.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.commands import environment
from cluster.errors import ClusterError

LAUNCHER = """
record=$1 group=$2; shift 2
echo $$ > "$group" || exit 1
echo "$$ $(cut -d' ' -f22 /proc/$$/stat)" > "$record" || exit 1
exec "$@"
"""


@dataclass(frozen=True)
class Identity:
    """One process, for ever: no other one will have both numbers until the machine starts anew."""

    pid: int
    start: int

    @classmethod
    def parse(cls, text: str) -> "Identity | None":
        """Out of a record; None when it is not complete."""
        words = text.split()
        return cls(int(words[0]), int(words[1])) if len(words) == 2 and "".join(words).isdigit() else None


def start_time(stat: str) -> int | None:
    """The start time in a text like /proc/PID/stat; None for a process that is dead and not yet reaped."""
    fields = stat.rpartition(")")[2].split()
    return None if not fields or fields[0] in "ZX" else int(fields[19])


def alive(identity: Identity) -> bool:
    """Whether this very process still runs."""
    try:
        return start_time(Path(f"/proc/{identity.pid}/stat").read_text()) == identity.start
    except (FileNotFoundError, ProcessLookupError):
        return False


def identify(pid: int) -> Identity | None:
    """The identity of the process that has this pid now."""
    try:
        start = start_time(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if start is None else Identity(pid, start)


def end(identity: Identity, sign: signal.Signals = signal.SIGTERM, grace: float = 10.0) -> None:
    """Send the signal and wait; SIGKILL after the grace. Returns when the process is gone."""
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    try:
        if not alive(identity):  # asked after the handle exists: from here on it cannot become another process
            return
        signal.pidfd_send_signal(handle, sign)
        if not _ended(handle, grace):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            _ended(handle, grace)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def _ended(handle: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class Processes:
    """The processes of the cluster by name, with their records and logs in two folders."""

    def __init__(self, records: Path, logs: Path) -> None:
        """Neither folder has to exist before something is started."""
        self._records = records
        self._logs = logs

    def start(
        self, name: str, command: Sequence[str | Path], group: Path, env: Mapping[str, str] | None = None
    ) -> None:
        """Start it detached from this process and from the terminal; no-op when it already runs.

        `group` is the cgroup.procs file that it enters first.
        """
        if self.running(name):
            return
        for folder in (self._records, self._logs):
            folder.mkdir(parents=True, exist_ok=True)
        self._record(name).unlink(missing_ok=True)
        words = [str(word) for word in command]
        with self.log(name).open("ab") as log:
            subprocess.run(
                ["setsid", "--fork", "sh", "-c", LAUNCHER, "sh", str(self._record(name)), str(group), *words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=environment(env), check=True,
            )  # fmt: skip
        self._await_record(name)

    def running(self, name: str) -> bool:
        """Whether the process recorded under this name still runs."""
        identity = self.identity(name)
        return identity is not None and alive(identity)

    def identity(self, name: str) -> Identity | None:
        """What is recorded under this name."""
        try:
            return Identity.parse(self._record(name).read_text())
        except FileNotFoundError:
            return None

    def stop(self, name: str, sign: signal.Signals = signal.SIGTERM, grace: float = 10.0) -> None:
        """End it and forget it; no-op when there is none."""
        if identity := self.identity(name):
            end(identity, sign, grace)
        self._record(name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Every name with a record, running or not."""
        return sorted(path.stem for path in self._records.glob("*.pid"))

    def log(self, name: str) -> Path:
        """The file with everything that it printed."""
        return self._logs / f"{name}.log"

    def last_words(self, name: str, lines: int = 8) -> str:
        """The end of its log, for an error message."""
        text = self.log(name).read_text(errors="replace") if self.log(name).exists() else ""
        return f"The end of {self.log(name)}:\n" + "\n".join(text.splitlines()[-lines:])

    def _record(self, name: str) -> Path:
        return self._records / f"{name}.pid"

    def _await_record(self, name: str) -> None:
        deadline = time.monotonic() + 10
        while self.identity(name) is None:
            if time.monotonic() > deadline:
                raise ClusterError(f"{name} did not start. {self.last_words(name)}")
            time.sleep(0.01)
