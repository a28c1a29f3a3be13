"""The parts of one local cluster that everything below works on, and what is asked of them all the time."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cluster.commands import run, succeeds
from cluster.errors import ClusterError
from cluster.local import cgroups, control_plane, network, node
from cluster.local.api import Api
from cluster.local.images import Store, static_busybox
from cluster.local.processes import Processes
from cluster.local.settings import DNS_SERVICE, Node, Settings

LAYOUT = 1
BOOT = Path("/proc/sys/kernel/random/boot_id")
DEPLOYMENTS = (("kube-system", "coredns"), ("local-path-storage", "local-path-provisioner"))


@dataclass(frozen=True)
class Machine:
    """The settings of the cluster and the folders of the built programs, by group."""

    settings: Settings
    programs: dict[str, Path]

    @cached_property
    def processes(self) -> Processes:
        """The long-running processes."""
        return Processes(self.settings.state / "run", self.settings.logs)

    @cached_property
    def api(self) -> Api:
        """The API server, once its keys exist."""
        return Api(self.settings)

    @property
    def stamp(self) -> str:
        """What the running cluster was made from: another stamp means that it has to be made anew."""
        programs = {name: path.name for name, path in sorted(self.programs.items())}
        return json.dumps([LAYOUT, BOOT.read_text().strip(), str(self.settings.link), programs])

    @property
    def stamp_file(self) -> Path:
        """Where the stamp of the running cluster is kept."""
        return self.settings.state / "stamp.json"

    def expected(self) -> list[str]:
        """The names of all processes that a whole cluster has."""
        return [*control_plane.commands(self.settings, self.programs), *self.of_nodes()]

    def of_nodes(self) -> list[str]:
        """The names of the processes of both nodes."""
        return [name for item in self.settings.nodes for name in self.of_node(item)]

    def of_node(self, item: Node) -> list[str]:
        """The names of the processes of one node, in the order in which they start."""
        agents = node.agents(self.settings, item, self.programs)
        return [item.holder, node.runtime(item).name, *(agent.name for agent in agents)]

    def dead(self) -> list[str]:
        """Those of them that do not run."""
        return [name for name in self.expected() if not self.processes.running(name)]

    def healthy(self) -> bool:
        """Whether all of it runs and works, as far as can be seen from outside in a moment."""
        if not self.stamp_file.exists() or self.stamp_file.read_text() != self.stamp or self.dead():
            return False
        return self.api.ready() and not self.unready()

    def unready(self) -> list[str]:
        """The nodes that are not Ready, the cluster's own deployments that are not available, DNS if it is mute."""
        ready = self.api.ready_nodes()
        nodes = [item.name for item in self.settings.nodes if item.name not in ready]
        deployments = [name for space, name in DEPLOYMENTS if not self.api.available(space, name)]
        return [*nodes, *deployments] or self.mute()

    def mute(self) -> list[str]:
        """The nodes on which no name is found."""
        return [f"DNS on {item.name}" for item in self.settings.nodes if not self.resolves(item)]

    def resolves(self, item: Node) -> bool:
        """Whether a name of the cluster is found from this node: the API server may be told late that it is not."""
        question = ["nslookup", "kubernetes.default.svc.cluster.local", DNS_SERVICE]
        return succeeds([*network.inside(item.namespace), "timeout", "2", static_busybox(), *question])

    def require_running(self, name: str) -> None:
        """Raise ClusterError with the end of its log when the process has ended."""
        if not self.processes.running(name):
            raise ClusterError(f"{name} has ended. {self.processes.last_words(name)}")

    def inside(self, item: Node) -> list[str]:
        """The words that make a command run in this node."""
        identity = self.processes.identity(item.holder)
        if identity is None:
            raise ClusterError(f"{item.name} is not up: run `make cluster`")
        return node.inside(identity.pid)

    def store(self, item: Node) -> Store:
        """The images of this node."""
        return Store(item.folder / "images.json", self.inside(item))

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator."""
        program = self.programs["kubernetes"] / "kubectl"
        files = (f"--kubeconfig={self.settings.kubeconfig}", f"--cache-dir={self.settings.state / 'kubectl-cache'}")
        return run([program, *files, *arguments], stdin=stdin)

    def groups(self) -> tuple[str, ...]:
        """All control groups of the cluster."""
        return (self.settings.control_group, *(item.namespace for item in self.settings.nodes))

    def own_pids(self) -> set[int]:
        """Every process that is in one of them now."""
        return cgroups.pids(self.groups())
