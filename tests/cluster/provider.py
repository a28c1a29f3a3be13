"""What every cluster can do for us. Tests and the command line know this and nothing else."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path


class Provider(ABC):
    """A Kubernetes cluster that can be had, used and given back."""

    name: str
    programs: tuple[str, ...] = ("kubernetes",)
    """Groups of programs that are built for it before it can be used."""

    @abstractmethod
    def up(self) -> None:
        """Make the cluster usable; quick when it already is. Raises ClusterError."""

    @abstractmethod
    def down(self) -> None:
        """Give back everything that `up` took. Raises ClusterError."""

    @abstractmethod
    def kubeconfig(self) -> Path:
        """The kubeconfig file of an administrator."""

    @abstractmethod
    def load_images(self, archives: Sequence[Path]) -> None:
        """Make the images in these docker or OCI archives usable by every node."""

    @abstractmethod
    def nodes(self) -> list[str]:
        """The names of the nodes."""

    @abstractmethod
    def status(self) -> str:
        """What runs and what does not, for a person."""

    @property
    def audit_log(self) -> Path | None:
        """The API server's audit log (JSON lines, writes only), where this cluster has one that can be read."""
        return None
