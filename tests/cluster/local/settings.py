"""Names, addresses and paths of the local cluster. Pure data; everything else asks here."""

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path

from cluster import paths
from cluster.errors import ClusterError

DEFAULT_NAME = "agentsessions"
NAME_VARIABLE = "AGENTSESSIONS_CLUSTER_NAME"
POD_RANGE = "10.245.0.0/16"
SERVICE_RANGE = "10.97.0.0/16"
API_SERVICE = "10.97.0.1"
DNS_SERVICE = "10.97.0.10"
WIRE = ipaddress.IPv4Network("10.98.1.0/24")
DEFAULT_LINK = "10.98.0.0/24"
LINK_VARIABLE = "AGENTSESSIONS_CLUSTER_LINK"


@dataclass(frozen=True)
class Node:
    """One node: its namespaces, its addresses, its folder."""

    cluster: str
    index: int
    address: str
    pod_range: str
    folder: Path

    @property
    def name(self) -> str:
        """The name of the Node object."""
        return f"node{self.index}"

    @property
    def namespace(self) -> str:
        """The name of its network namespace and of its cgroup."""
        return f"{self.cluster}-{self.name}"

    @property
    def group(self) -> str:
        """The control group below which its own processes are found; its pods are in siblings of it."""
        return f"{self.namespace}/system"

    @property
    def holder(self) -> str:
        """The process that keeps its mount namespace."""
        return f"{self.name}-holder"


@dataclass(frozen=True)
class Settings:
    """The whole cluster: its name, the folder that holds all of its state and the link to the host."""

    name: str
    state: Path
    link: ipaddress.IPv4Network

    @property
    def interface(self) -> str:
        """The host's end of the link."""
        return f"{self.name}0"

    @property
    def control_group(self) -> str:
        """The control group of etcd, API server, controller manager and scheduler."""
        return f"{self.name}-control-plane"

    @property
    def host_address(self) -> str:
        """The host's end of the link to node0."""
        return str(self.link[1])

    @property
    def api_address(self) -> str:
        """Where the API server listens: node0's end of that link."""
        return str(self.link[2])

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return f"https://{self.api_address}:6443"

    @property
    def nodes(self) -> tuple[Node, Node]:
        """Both nodes."""
        return (
            Node(self.name, 0, self.api_address, "10.245.0.0/24", self.state / "node0"),
            Node(self.name, 1, str(WIRE[2]), "10.245.1.0/24", self.state / "node1"),
        )

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        """One file per process."""
        return self.state / "logs"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """Every write that the API server saw, one JSON object a line."""
        return self.logs / "audit.jsonl"

    def kubeconfig_of(self, user: str) -> Path:
        """The kubeconfig of one of the components."""
        return self.pki / f"{user}.kubeconfig"


def load() -> Settings:
    """The settings of this machine's cluster. Raises ClusterError for a name or a link that cannot be used."""
    name = os.environ.get(NAME_VARIABLE) or DEFAULT_NAME
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,13}", name):
        raise ClusterError(f"{NAME_VARIABLE}={name}: use at most 14 lower-case letters, digits and dashes")
    folder = paths.state_dir()
    return Settings(name, folder if name == DEFAULT_NAME else folder.with_name(f"cluster-{name}"), _link())


def _link() -> ipaddress.IPv4Network:
    text = os.environ.get(LINK_VARIABLE) or DEFAULT_LINK
    try:
        link = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise ClusterError(f"{LINK_VARIABLE}={text}: {error}; give an IPv4 range such as {DEFAULT_LINK}") from None
    if link.prefixlen > 29 or any(link.overlaps(ipaddress.IPv4Network(own)) for own in internal_ranges()):
        raise ClusterError(f"{LINK_VARIABLE}={text}: needs 8 addresses or more outside {', '.join(internal_ranges())}")
    return link


def internal_ranges() -> tuple[str, ...]:
    """The ranges that exist only inside the cluster."""
    return (POD_RANGE, SERVICE_RANGE, str(WIRE))
