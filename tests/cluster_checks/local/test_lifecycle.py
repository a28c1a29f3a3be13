"""The local cluster's whole life on a second cluster of its own: nothing that others use is touched.

Each test takes the machine's own view before and after: processes, mounts, links, namespaces, control groups.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cluster.local import cgroups
from cluster.local.settings import LINK_VARIABLE, NAME_VARIABLE
from e2e.sizes import THOROUGH

NAME = "lifecycle"
LINK = "10.98.64.0/24"
GROUPS = (f"{NAME}-control-plane", f"{NAME}-node0", f"{NAME}-node1")


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A second cluster with a state folder of its own; taken down whatever happens."""
    own = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    own |= {
        "AGENTSESSIONS_CLUSTER": "local",
        "XDG_STATE_HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        NAME_VARIABLE: NAME,
        LINK_VARIABLE: LINK,
    }
    yield own
    call(own, "down")


def call(environment: Mapping[str, str], *words: str) -> str:
    """Run the command line to its end; what it printed."""
    command = [sys.executable, "-m", "cluster", *words]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def pids(environment: Mapping[str, str]) -> dict[str, int]:
    """The pid of each process that runs, by name."""
    lines = [line.split(": pid ") for line in call(environment, "status").splitlines() if ": pid " in line]
    return {name: int(pid) for name, pid in lines}


def traces() -> dict[str, object]:
    """Everything on this machine that is of the second cluster, and what all clusters share."""
    links = subprocess.run(["ip", "-brief", "link"], text=True, capture_output=True, check=True).stdout
    namespaces = Path("/run/netns")
    roots = [root / name for root in cgroups.hierarchies() for name in GROUPS]
    return {
        "mounts": sorted(line for line in Path("/proc/self/mounts").read_text().splitlines() if NAME in line),
        "links": [line for line in links.splitlines() if line.startswith(NAME)],
        "namespaces": [path.name for path in namespaces.glob(f"{NAME}*")] if namespaces.exists() else [],
        "groups": [str(root) for root in roots if root.exists()],
        "processes": sorted(cgroups.pids(GROUPS)),
        "folders": [name for name in ("/var/lib/calico", "/var/lib/cni", "/etc/cni") if Path(name).exists()],
    }


def test_up_down_and_nothing_left(environment: dict[str, str], tmp_path: Path) -> None:
    before = traces()
    call(environment, "up")
    assert traces() != before
    everything = pids(environment)
    assert len(everything) == 14
    assert "is up" in call(environment, "up")
    assert pids(environment) == everything
    call(environment, "down")
    assert traces() == before
    assert list((tmp_path / "agentsessions").iterdir()) == []
    assert not [pid for pid in everything.values() if Path(f"/proc/{pid}/exe").exists()]
    call(environment, "down")


def test_killed_components_are_started_again(environment: dict[str, str]) -> None:
    call(environment, "up")
    for victim in ("etcd", "node0-kubelet", "node1-containerd", "node1-holder"):
        before = pids(environment)
        os.kill(before[victim], signal.SIGKILL)
        assert "repairing" in call(environment, "up")
        assert "not healthy" not in call(environment, "status")
        assert pids(environment)[victim] != before[victim]


MILESTONES = ("starting the local cluster", "keys", "runtimes", "objects")
USUAL: dict[signal.Signals, tuple[str, ...]] = {signal.SIGINT: (), signal.SIGKILL: ("runtimes",)}
INTERRUPTIONS = [(sign, one) for sign, usual in USUAL.items() for one in (MILESTONES if THOROUGH else usual)]


@pytest.mark.parametrize(("sign", "milestone"), INTERRUPTIONS)
def test_interrupted_anywhere_it_goes_on(
    environment: dict[str, str], sign: signal.Signals, milestone: str, tmp_path: Path
) -> None:
    before = traces()
    interrupt(environment, milestone, sign)
    call(environment, "up")
    assert len(pids(environment)) == 14
    call(environment, "down")
    interrupt(environment, milestone, sign)
    call(environment, "down")
    assert traces() == before
    assert list((tmp_path / "agentsessions").iterdir()) == []


def interrupt(environment: Mapping[str, str], milestone: str, sign: signal.Signals) -> None:
    """Begin `up` and send the signal to it and what it runs a moment after it has said this."""
    # A program that a shell put in the background ignores SIGINT, and so does all that it starts: undo that.
    command, pipe = ["env", "--default-signal=INT", sys.executable, "-m", "cluster", "up"], subprocess.PIPE
    with subprocess.Popen(command, env=environment, text=True, stderr=pipe, start_new_session=True) as process:
        assert process.stderr is not None
        while milestone not in (line := process.stderr.readline()):
            assert line, "it ended too soon"
        time.sleep(0.3)
        os.killpg(process.pid, sign)
        process.stderr.read()
    assert process.returncode != 0
