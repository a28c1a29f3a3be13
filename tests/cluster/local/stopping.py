"""Stopping: by recorded process and by our own control groups, never by a name. Then everything else is removed."""

import shutil
import signal
from pathlib import Path

from cluster.errors import ClusterError
from cluster.local import cgroups, kernel, network
from cluster.local.machine import Machine
from cluster.local.processes import end, identify
from cluster.local.settings import Node
from cluster.progress import step
from cluster.waiting import wait_until


def stop(machine: Machine) -> None:
    """Stop all of it and remove every trace but the cache."""
    settings = machine.settings
    with step("processes, containers and mounts"):
        for item in settings.nodes:
            stop_node(machine, item)
        _end_group(settings.control_group)
        _forget(machine, machine.processes.names())
    with step("network namespaces, control groups, files"):
        network.remove(settings)
        kernel.restore(settings.state / "kernel.json")
        remove_state(settings.state)


def stop_node(machine: Machine, item: Node) -> None:
    """End every process of one node at once, as a power cut would. Its mounts go with its last process."""
    _forget(machine, [name for name in machine.processes.names() if name.startswith(f"{item.name}-")])
    _end_group(item.namespace)


def remove_state(folder: Path) -> None:
    """Delete the state folder, but never through a mount that is somebody else's."""
    if mounted := [path for path in kernel.mount_points() if path.startswith(f"{folder}/")]:
        raise ClusterError(f"not deleting {folder}: {', '.join(mounted)} is mounted there, and not by us")
    if folder.exists():
        shutil.rmtree(folder)


def _forget(machine: Machine, names: list[str]) -> None:
    # SIGKILL: nothing that these processes could still write is kept.
    for name in names:
        machine.processes.stop(name, signal.SIGKILL)


def _end_group(name: str) -> None:
    """Kill what is in the group until nothing is, then remove the group."""
    wait_until(f"the processes in {name}", lambda: not _kill(name), 30, lambda: f"Still there: {cgroups.pids((name,))}")
    wait_until(f"removing the control group {name}", lambda: not cgroups.remove((name,)), 20)


def _kill(name: str) -> bool:
    """Whether there was anything to kill."""
    pids = cgroups.pids((name,))
    for pid in pids:
        if identity := identify(pid):
            end(identity, signal.SIGKILL, grace=0.1)
    return bool(pids)
