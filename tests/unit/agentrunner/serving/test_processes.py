"""Who belongs to a session, what its processes weigh, and what they serve; asked of real processes."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentrunner.serving import processes
from agentrunner.serving.processes import cpu_seconds, end_all, kill_all, listens, memory, of_session, tree

HOLD = "import sys; print('up', flush=True); sys.stdin.read()"
SERVE = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.create_server((sys.argv[1], 0), family=family, dualstack_ipv6=sys.argv[1] == "::") as server:
    print(server.getsockname()[1], flush=True)
    sys.stdin.read()
"""


@contextmanager
def started(code: str, *arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run Python code that prints one line and waits; yield the process and the line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()


def shell(script: str) -> str:
    """Return code that runs a shell script, which must print a line first, and waits."""
    return f"import subprocess, sys; subprocess.run(['sh', '-c', {script!r}])"


def test_a_tree_is_a_process_with_all_below_it() -> None:
    with started(shell("sleep 1000 & (sleep 1000 & echo $!; wait) & wait")) as (process, deepest):
        found = tree(process.pid)
        kill_all(found)
    assert found[0] == process.pid
    assert int(deepest) in found
    assert len(found) == len(["python", "sh", "sleep", "sh", "sleep"])


def test_the_tree_of_a_process_that_is_gone_is_empty() -> None:
    with started(HOLD) as (process, _):
        pid = process.pid
    assert tree(pid) == []


def test_neighbours_are_not_in_the_tree() -> None:
    with started(HOLD) as (one, _), started(HOLD) as (other, _):
        assert tree(one.pid) == [one.pid]
        assert other.pid in tree(os.getpid())


def test_a_name_that_tries_to_mislead_does_not() -> None:
    name = rb") R 1 1 \xff"
    code = f"import ctypes; ctypes.CDLL(None).prctl(15, {name!r}); {HOLD}"
    with started(code) as (process, _):
        assert tree(process.pid) == [process.pid]
        assert process.pid in tree(os.getpid())


def test_memory_grows_with_what_a_process_holds() -> None:
    size = 100_000_000
    with started(HOLD) as (small, _), started(f"held = b'x' * {size}; {HOLD}") as (large, _):
        grown = memory([large.pid]) - memory([small.pid])
        both = memory([large.pid, small.pid])
    assert size * 0.9 < grown < size * 1.2
    assert both > size


def test_memory_that_two_processes_share_counts_once() -> None:
    size = 100_000_000
    code = f"import os, sys; held = b'x' * {size}\nif os.fork(): print('up', flush=True)\nsys.stdin.read()"
    with started(code) as (process, _):
        assert memory(tree(process.pid)) < size * 1.5


def test_memory_without_the_kernels_shares_is_what_is_resident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentrunner.serving.processes._proportional", lambda pid: 0)
    size = 100_000_000
    with started(f"held = b'x' * {size}; {HOLD}") as (large, _):
        assert memory([large.pid]) > size


def test_processes_that_are_gone_weigh_nothing() -> None:
    with started(HOLD) as (process, _):
        pid = process.pid
    assert (memory([pid]), cpu_seconds([pid])) == (0, 0.0)


def test_cpu_time_is_that_of_the_process_and_of_children_it_waited_for() -> None:
    burn = "import time; end = time.process_time() + 0.5\\nwhile time.process_time() < end: pass"
    alone = burn.replace("\\n", "\n")
    nested = f'import subprocess, sys; subprocess.run([sys.executable, "-c", "{burn}"])'
    with (
        started(f"{alone}\n{HOLD}") as (one, _),
        started(f"{nested}\n{HOLD}") as (other, _),
        started(HOLD) as (idle, _),
    ):
        found = [cpu_seconds([process.pid]) for process in (one, other, idle)]
    assert found[0] >= 0.4
    assert found[1] >= 0.4
    assert found[2] < 0.4


@pytest.mark.requirement("H11")
@pytest.mark.parametrize(
    ("bound", "reached"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "::1"), ("127.9.9.9", None)],
)
def test_where_a_server_is_reached(bound: str, reached: str | None) -> None:
    with started(SERVE, bound) as (process, port):
        assert port, f"this machine cannot listen on {bound}"
        assert listens([process.pid], int(port)) == reached
        if reached:
            socket.create_connection((reached, int(port))).close()


@pytest.mark.requirement("H11")
def test_the_server_of_another_process_is_not_ours() -> None:
    with started(SERVE, "127.0.0.1") as (server, port), started(HOLD) as (other, _):
        assert listens([other.pid], int(port)) is None
        assert listens([other.pid, server.pid], int(port)) == "127.0.0.1"


def test_a_connection_is_not_a_server() -> None:
    code = """
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as server:
    client = socket.create_connection(server.getsockname())
    print(client.getsockname()[1], flush=True)
    sys.stdin.read()
"""
    with started(code) as (process, port):
        assert listens([process.pid], int(port)) is None


def test_a_child_that_lost_its_parent_still_belongs_to_its_session(tmp_path: Path) -> None:
    run = "subprocess.run(['sh', '-c', 'sleep 1000 >/dev/null 2>&1 & echo $!'], capture_output=True, text=True).stdout"
    code = f"import subprocess, sys; print({run}.strip(), flush=True); sys.stdin.read()"
    with started(code, CLAUDE_CONFIG_DIR=str(tmp_path)) as (process, left):
        found = of_session(tmp_path, process.pid)
        below = tree(process.pid)
        kill_all([int(left)])
    assert int(left) not in below
    assert set(found) == {process.pid, int(left)}


def test_a_session_without_a_cli_has_what_it_left_running(tmp_path: Path) -> None:
    with started(HOLD, CLAUDE_CONFIG_DIR=str(tmp_path)) as (process, _):
        assert of_session(tmp_path, None) == [process.pid]


def test_a_neighbours_process_is_not_the_sessions(tmp_path: Path) -> None:
    one, other = tmp_path / "a", tmp_path / "ab"
    with (
        started(HOLD, CLAUDE_CONFIG_DIR=str(one)) as (ours, _),
        started(HOLD, CLAUDE_CONFIG_DIR=str(other)) as (theirs, _),
    ):
        assert of_session(one, None) == [ours.pid]
        assert of_session(other, None) == [theirs.pid]


def test_the_host_itself_is_nobodys(tmp_path: Path) -> None:
    """In a pod of one session the runner has the agent's directory in its own environment."""
    code = f"""
import os, sys
from pathlib import Path
from agentrunner.serving.processes import of_session
print(of_session(Path({str(tmp_path)!r}), None), flush=True)
sys.stdin.read()
"""
    path = os.pathsep.join(part for part in sys.path if part)
    with started(code, CLAUDE_CONFIG_DIR=str(tmp_path), PYTHONPATH=path) as (_, found):
        assert found == "[]"


async def test_killing_takes_all_and_forgives_those_that_are_gone() -> None:
    process = await asyncio.create_subprocess_exec("sh", "-c", "sleep 1000 & sleep 1000 & wait")
    family: list[int] = []
    while len(family) < 3:
        family = tree(process.pid)
        await asyncio.sleep(0.01)
    kill_all([*family, *family])
    assert await process.wait() == -signal.SIGKILL


def test_one_that_was_started_while_others_were_killed_is_killed_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started(HOLD) as (first, _), started(HOLD) as (late, _):
        seen = iter([[first.pid], [late.pid], [], [0]])
        monkeypatch.setattr(processes, "of_session", lambda config, pid: next(seen))
        end_all(tmp_path)
        assert [one.wait(10) for one in (first, late)] == [-signal.SIGKILL] * 2


def test_one_that_cannot_be_killed_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_KILL_PAUSE", 0)
    monkeypatch.setattr(processes, "of_session", lambda config, pid: [2**30])
    end_all(tmp_path)


def test_processes_that_come_and_go_do_not_disturb() -> None:
    with started(shell("echo up; while :; do /bin/true; done")) as (process, _):
        for _ in range(50):
            family = tree(process.pid)
            assert family[0] == process.pid
            memory(family)
            cpu_seconds(family)
            listens(family, 1)
        kill_all(tree(process.pid))
