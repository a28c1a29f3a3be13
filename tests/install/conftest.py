"""The chart's permissions and policies on a real cluster, under a release name that nobody else uses."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml

from chart import helm
from install import kubectl

RELEASE = "install-test"


@dataclass(frozen=True)
class Installation:
    """Where the release is, where it may work, and where it must not."""

    namespace: str
    watched: str
    other: str

    @property
    def user(self) -> str:
        """The user name of the operator's service account."""
        return f"system:serviceaccount:{self.namespace}:{RELEASE}-agentsessions"


def access_objects(namespace: str, *settings: str) -> list[helm.Manifest]:
    """Return what the chart renders about permissions and admission; nothing that starts a pod."""
    kinds = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    kinds |= {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    sets = [part for setting in ("crds.enabled=false", *settings) for part in ("--set", setting)]
    text = helm.run("template", RELEASE, str(helm.CHART), "--namespace", namespace, *sets)
    return [item for item in yaml.safe_load_all(text) if item and item["kind"] in kinds]


@pytest.fixture(scope="session")
def namespaces() -> Iterator[Installation]:
    """Three namespaces of this run; a number keeps them apart from those of a run that is still going away."""
    run = f"{RELEASE}-{secrets.token_hex(3)}"
    with (
        kubectl.namespace(f"{run}-system") as own,
        kubectl.namespace(f"{run}-watched") as watched,
        kubectl.namespace(f"{run}-other") as other,
    ):
        yield Installation(own, watched, other)


@pytest.fixture(scope="session")
def cluster_wide(namespaces: Installation) -> Iterator[Installation]:
    """The permissions and policies of a release that serves all namespaces."""
    manifests = access_objects(namespaces.namespace)
    kubectl.apply(*manifests)
    try:
        yield namespaces
    finally:
        _delete(manifests)


@pytest.fixture(scope="session")
def namespaced(namespaces: Installation) -> Iterator[Installation]:
    """The permissions of a second release that watches one namespace."""
    manifests = access_objects(
        namespaces.other, f"watchNamespaces={{{namespaces.watched}}}", "rbac.aggregateRoles=false"
    )
    kubectl.apply(*manifests)
    try:
        yield Installation(namespaces.other, namespaces.watched, namespaces.namespace)
    finally:
        _delete(manifests)


def _delete(manifests: list[helm.Manifest]) -> None:
    """Delete what was applied; the namespaces may be on their way already."""
    body = {"apiVersion": "v1", "kind": "List", "items": manifests}
    kubectl.run("delete", "--ignore-not-found", "--wait=false", "--filename", "-", stdin=body)
