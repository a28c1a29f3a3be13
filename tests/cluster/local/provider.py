"""The provider for machines without a container engine: a cluster of processes on this machine."""

import json
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from cluster import build, paths, tools
from cluster.errors import ClusterError
from cluster.local import network, preflight, settings, starting, stopping
from cluster.local.archives import inspect
from cluster.local.machine import Machine
from cluster.local.node import inside as words_inside
from cluster.local.settings import Node
from cluster.locks import exclusive
from cluster.progress import say
from cluster.provider import Provider


class LocalProvider(Provider):
    """Two nodes on this machine."""

    name = "local"
    programs = tools.LOCAL

    def __init__(self) -> None:
        """Reads the settings; touches nothing."""
        self._settings = settings.load()

    def up(self) -> None:
        """Make it or repair it; a healthy cluster is left alone."""
        with self._lock():
            if build.built(tools.LOCAL) and self._machine().healthy():
                say("the local cluster is up")
                return
            preflight.require(self._settings)
            build.ensure(tools.LOCAL)
            self._converge(self._machine())
        say(f"the local cluster is up: export KUBECONFIG={self.kubeconfig()}")

    def down(self) -> None:
        """Stop exactly what was started and remove it; no-op when nothing is there."""
        with self._lock():
            machine = self._machine()
            if not self._settings.state.exists() and not machine.own_pids():
                say("the local cluster is down")
                return
            say("taking the local cluster down")
            stopping.stop(machine)
        say("the local cluster is down; built programs stay in " + str(paths.cache_dir()))

    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; exists while the cluster is up."""
        return self._settings.kubeconfig

    def load_images(self, archives: Sequence[Path]) -> None:
        """Import the archives into both nodes, unless they have the same content already."""
        machine = self._machine()
        jobs = [(archive, node) for archive in map(inspect, archives) for node in self._settings.nodes]
        with ThreadPoolExecutor(2) as pool:
            loaded = list(pool.map(lambda job: machine.store(job[1]).load(job[0]), jobs))
        fresh = {archive.path.name for (archive, _), new in zip(jobs, loaded, strict=True) if new}
        say(f"images imported into {len(self._settings.nodes)} nodes: {', '.join(sorted(fresh)) or 'nothing new'}")

    def nodes(self) -> list[str]:
        """node0 and node1."""
        return [node.name for node in self._settings.nodes]

    def status(self) -> str:
        """One line per process, then what is not ready."""
        machine = self._machine()
        if not self._settings.state.exists():
            return "down"
        lines = [self._line(machine, name) for name in machine.expected()]
        return "\n".join([*lines, "healthy" if machine.healthy() else "not healthy: `make cluster` repairs it"])

    @property
    def audit_log(self) -> Path:
        """The API server's audit log: one JSON object a line for every write."""
        return self._settings.audit_log

    def restart_component(self, name: str, sign: signal.Signals = signal.SIGKILL) -> None:
        """End one process by the signal and start it again; see `status` for the names."""
        machine = self._machine_with(name)
        with self._lock():
            machine.processes.stop(name, sign)
            self._start_again(machine)

    def stop_component(self, name: str) -> None:
        """Kill one process; `start_node`, or `up`, starts it again."""
        machine = self._machine_with(name)
        with self._lock():
            machine.processes.stop(name, signal.SIGKILL)

    def stop_node(self, name: str) -> None:
        """End everything on one node at once, as a power cut would."""
        with self._lock():
            stopping.stop_node(self._machine(), self._node(name))

    def start_node(self, name: str) -> None:
        """Start a stopped node again and wait until it is Ready."""
        machine = self._machine()
        with self._lock():
            starting.start_node(machine, self._node(name))

    @contextmanager
    def short_of_memory(self, name: str) -> Iterator[None]:
        """Have a node's kubelet evict pods, one after the other, as where next to no memory is left.

        What it takes for too little is set to nearly all. Softly: what is kept free firmly is nobody's to ask for, and
        pods that are there already would be refused.
        """
        config = self._node(name).folder / "kubelet.json"
        usual = config.read_text()
        soft = {"evictionSoft": {"memory.available": "99%"}, "evictionSoftGracePeriod": {"memory.available": "1s"}}
        config.write_text(json.dumps(json.loads(usual) | soft | {"evictionMaxPodGracePeriod": 30}))
        try:
            self.restart_component(f"{name}-kubelet")
            yield
        finally:
            config.write_text(usual)
            self.restart_component(f"{name}-kubelet")

    def inside(self, name: str) -> list[str]:
        """Return the words that make a command run in a node, with its mounts and its network."""
        identity = self._machine().processes.identity(self._node(name).holder)
        if identity is None:
            raise ClusterError(f"{name} does not run")
        return words_inside(identity.pid)

    def _start_again(self, machine: Machine) -> None:
        starting.start_control_plane(machine)
        for node in self._settings.nodes:
            starting.start_node(machine, node)

    def _converge(self, machine: Machine) -> None:
        state = self._settings.state
        if state.exists() and not self._resumable(machine):
            say("what is left of an earlier cluster is removed first")
            stopping.stop(machine)
        say("starting the local cluster" if machine.dead() == machine.expected() else "repairing the local cluster")
        starting.start(machine)

    def _resumable(self, machine: Machine) -> bool:
        stamp = machine.stamp_file
        return stamp.exists() and stamp.read_text() == machine.stamp and network.complete(self._settings)

    def _machine_with(self, component: str) -> Machine:
        machine = self._machine()
        if component not in machine.expected():
            raise ClusterError(f"{component}: no such component; there are {', '.join(machine.expected())}")
        return machine

    def _machine(self) -> Machine:
        return Machine(self._settings, {name: tools.group_named(name).folder() for name in tools.LOCAL})

    def _node(self, name: str) -> Node:
        found = {node.name: node for node in self._settings.nodes}
        if name not in found:
            raise ClusterError(f"{name}: no such node; there are {', '.join(found)}")
        return found[name]

    def _lock(self) -> AbstractContextManager[None]:
        return exclusive(paths.cache_dir() / f"{self._settings.state.name}.lock", "work on the cluster")

    @staticmethod
    def _line(machine: Machine, name: str) -> str:
        identity = machine.processes.identity(name)
        return f"{name}: pid {identity.pid}" if identity and machine.processes.running(name) else f"{name}: not running"
