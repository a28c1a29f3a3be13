"""The provider for a cluster that somebody else runs: whatever KUBECONFIG points to."""

import os
from collections.abc import Sequence
from pathlib import Path

from cluster import build
from cluster.commands import Runner, run
from cluster.errors import ClusterError
from cluster.progress import say
from cluster.provider import Provider

REGISTRY = "AGENTSESSIONS_REGISTRY"


class ExistingProvider(Provider):
    """Uses a cluster and never changes its machines."""

    name = "existing"

    def __init__(self, runner: Runner = run) -> None:
        """`runner` runs kubectl."""
        self._run = runner

    def up(self) -> None:
        """Check that the cluster answers, and say which one it is."""
        self._kubectl("get", "--raw", "/readyz")
        server = self._kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
        say(f"using the cluster at {server}")

    def down(self) -> None:
        """Nothing: the cluster is not ours."""
        say("this cluster is not ours: it stays as it is")

    def kubeconfig(self) -> Path:
        """What KUBECONFIG says, else the default place. Raises ClusterError when there is no such file."""
        path = Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
        if not path.is_file():
            raise ClusterError(f"{path}: no such kubeconfig; set KUBECONFIG to the one file of the cluster to use")
        return path

    def load_images(self, archives: Sequence[Path]) -> None:
        """Say what has to be pushed where: only its owner knows how images get into this cluster."""
        prefix = os.environ.get(REGISTRY)
        for archive in archives:
            say(advice(archive, prefix))

    def nodes(self) -> list[str]:
        """The names of its nodes."""
        return self._kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}").split()

    def status(self) -> str:
        """What kubectl says about its nodes."""
        return self._kubectl("get", "nodes", "-o", "wide")

    def _kubectl(self, *words: str) -> str:
        return self._run([build.binary("kubectl"), f"--kubeconfig={self.kubeconfig()}", *words])


def advice(archive: Path, prefix: str | None) -> str:
    """The line that tells how to push one archive."""
    if prefix is None:
        return f"{archive}: push it to a registry that the cluster pulls from, and set {REGISTRY} to its prefix"
    return f"{archive}: push it as {prefix.rstrip('/')}/{archive.stem}, for example with skopeo copy"
