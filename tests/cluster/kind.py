"""The provider for machines where Docker runs: kind, with its own network plugin, which enforces NetworkPolicy."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from cluster import build, paths
from cluster.commands import Runner, run
from cluster.errors import ClusterError
from cluster.packages import which
from cluster.progress import say, ticking
from cluster.provider import Provider

CLUSTER = "agentsessions"
CONFIG = Path(__file__).parent / "kind.yaml"


class KindProvider(Provider):
    """Two kind nodes: a control plane that also takes pods, and a worker."""

    name = "kind"

    def __init__(self, runner: Runner = run) -> None:
        """`runner` runs kind."""
        self._run = runner

    def up(self) -> None:
        """Create the cluster, or leave the one that is there."""
        if CLUSTER not in self._kind("get", "clusters").split():
            with ticking("kind creates two nodes (the first time it pulls the node image, about 400 MB)"):
                self._create()
        self._write_kubeconfig()
        say(f"the kind cluster is up: export KUBECONFIG={self.kubeconfig()}")

    def down(self) -> None:
        """Delete the cluster and its kubeconfig."""
        self._kind("delete", "cluster", "--name", CLUSTER, "--kubeconfig", str(self.kubeconfig()))
        shutil.rmtree(self.kubeconfig().parent, ignore_errors=True)

    def kubeconfig(self) -> Path:
        """Our own file: kind is never let near the user's ~/.kube/config."""
        return paths.state_dir().with_name("kind") / "kubeconfig"

    def load_images(self, archives: Sequence[Path]) -> None:
        """Load the archives into every node."""
        for archive in archives:
            self._kind("load", "image-archive", "--name", CLUSTER, str(archive))

    def nodes(self) -> list[str]:
        """The names of the nodes, control plane first."""
        return sorted(self._kind("get", "nodes", "--name", CLUSTER).split())

    def status(self) -> str:
        """Up or down, and the nodes."""
        return f"up: {', '.join(self.nodes())}" if CLUSTER in self._kind("get", "clusters").split() else "down"

    def _create(self) -> None:
        self.kubeconfig().parent.mkdir(parents=True, exist_ok=True)
        files = ("--config", str(CONFIG), "--kubeconfig", str(self.kubeconfig()))
        try:
            self._kind("create", "cluster", "--name", CLUSTER, *files, "--wait", "180s")
        except ClusterError:
            self.down()  # half a cluster would be taken for a whole one next time
            raise

    def _write_kubeconfig(self) -> None:
        self.kubeconfig().parent.mkdir(parents=True, exist_ok=True)
        self._kind("export", "kubeconfig", "--name", CLUSTER, "--kubeconfig", str(self.kubeconfig()))

    def _kind(self, *words: str) -> str:
        program = which("kind") or build.binary("kind")
        return self._run([program, *words])
