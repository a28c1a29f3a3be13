"""A process is known by pid and start time: another one with the same pid is never taken for it, nor ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.local import processes
from cluster.local.processes import Identity, Processes


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def identity_of(pid: int) -> Identity:
    """The identity of a process that runs."""
    found = processes.identify(pid)
    assert found is not None
    return found


def test_start_time_is_found_behind_any_program_name() -> None:
    fields = ["S", *(str(number) for number in range(4, 53))]
    assert processes.start_time(f"17 (a) (b)) {' '.join(fields)}") == 22
    assert processes.start_time("") is None


@pytest.mark.parametrize("state", ["Z", "X"])
def test_a_dead_process_has_no_start_time(state: str) -> None:
    assert processes.start_time(f"17 (x) {state} {' '.join(['1'] * 49)}") is None


def test_this_process_is_alive() -> None:
    assert processes.alive(identity_of(os.getpid()))


def test_same_pid_with_another_start_time_is_somebody_else(sleeper: subprocess.Popen[bytes]) -> None:
    mine = identity_of(sleeper.pid)
    stranger = Identity(mine.pid, mine.start - 1)
    assert not processes.alive(stranger)
    processes.end(stranger)
    assert sleeper.poll() is None


def test_end_ends_the_very_process(sleeper: subprocess.Popen[bytes]) -> None:
    processes.end(identity_of(sleeper.pid))
    assert sleeper.wait(10) == -signal.SIGTERM


def test_end_kills_what_ignores_the_signal() -> None:
    ready = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", ready], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        processes.end(identity_of(process.pid), grace=0.2)
        assert process.wait(10) == -signal.SIGKILL


def test_a_process_that_is_gone_is_no_error(sleeper: subprocess.Popen[bytes]) -> None:
    known = identity_of(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    processes.end(known)
    assert processes.identify(sleeper.pid) is None


@pytest.mark.parametrize("text", ["", "17", "17 x", "a b", "1 2 3"])
def test_an_incomplete_record_is_none(text: str) -> None:
    assert Identity.parse(text) is None


def test_a_started_process_is_recorded_detached_and_in_its_group(tmp_path: Path) -> None:
    table, group = Processes(tmp_path / "run", tmp_path / "logs"), tmp_path / "cgroup.procs"
    table.start("one", ["sleep", "1000"], group)
    identity = table.identity("one")
    assert identity is not None
    assert table.running("one")
    assert group.read_text().strip() == str(identity.pid)
    assert os.getsid(identity.pid) != os.getsid(0)
    assert Path(f"/proc/{identity.pid}/cmdline").read_bytes() == b"sleep\x001000\x00"
    table.start("one", ["sleep", "2000"], group)
    assert table.identity("one") == identity
    table.stop("one")
    assert not processes.alive(identity)
    assert table.names() == []


def test_the_log_of_a_process_is_told(tmp_path: Path) -> None:
    table = Processes(tmp_path / "run", tmp_path / "logs")
    table.start("one", ["sh", "-c", "echo no such flag >&2"], tmp_path / "group")
    identity = table.identity("one")
    assert identity is not None
    while processes.alive(identity):
        pass
    assert "no such flag" in table.last_words("one")
