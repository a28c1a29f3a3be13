"""The objects that a fresh cluster is given, as text for `kubectl apply`: nodes, network, DNS, storage."""

import json
import re
from pathlib import Path
from string import Template

from cluster.errors import ClusterError
from cluster.local.settings import DNS_SERVICE, POD_RANGE, Settings
from cluster.tools import CALICO

MANIFESTS = Path(__file__).parent / "manifests"
CALICO_ROLES = ("calico-node", "calico-cni-plugin")
CALICO_USER = "calico-node"


def base(settings: Settings, calico_data: Path) -> str:
    """Everything that needs no custom resource to be established first."""
    documents = [
        *nodes(settings),
        *(path.read_text() for path in sorted((calico_data / "libcalico-go/config/crd").glob("*.yaml"))),
        *calico_access((calico_data / "manifests/calico.yaml").read_text()),
        filled("dns.yaml", settings),
        filled("storage.yaml", settings),
    ]
    return "\n---\n".join(documents)


def network(settings: Settings) -> str:
    """Calico's own objects."""
    return filled("network.yaml", settings)


def nodes(settings: Settings) -> list[str]:
    """The Node objects, with the pod range that the routes are made for and the address that Calico asks for."""
    return [
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {
                    "name": node.name,
                    "annotations": {"projectcalico.org/IPv4Address": f"{node.address}/24"},
                    "labels": {"kubernetes.io/hostname": node.name},
                },
                "spec": {"podCIDR": node.pod_range, "podCIDRs": [node.pod_range]},
            }
        )
        for node in settings.nodes
    ]


def calico_access(manifest: str) -> list[str]:
    """Calico's cluster roles out of its own manifest, bound to the user of our certificate."""
    documents = re.split(r"^---.*$", manifest, flags=re.MULTILINE)
    roles = [text for text in documents if "\nkind: ClusterRole\n" in text and _name(text) in CALICO_ROLES]
    if len(roles) != len(CALICO_ROLES):
        raise ClusterError(f"Calico's manifest lacks a role of {', '.join(CALICO_ROLES)}: not the pinned version")
    return [*roles, *(json.dumps(_binding(name)) for name in CALICO_ROLES)]


def _name(document: str) -> str:
    match = re.search(r"^  name: (\S+)$", document, re.MULTILINE)
    return match[1] if match else ""


def _binding(role: str) -> dict[str, object]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": role},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": CALICO_USER}],
    }


def filled(name: str, settings: Settings) -> str:
    """One of our manifests with the values of this cluster."""
    values = {
        "dns_service": DNS_SERVICE,
        "pod_range": POD_RANGE,
        "calico_version": CALICO,
        **{f"{node.name}_volumes": str(node.folder / "volumes") for node in settings.nodes},
    }
    return Template((MANIFESTS / name).read_text()).substitute(values)
