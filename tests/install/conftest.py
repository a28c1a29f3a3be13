"""The chart's permissions and policies on a real cluster, under a release name that nobody else uses."""

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml

from chart import helm
from install import kubectl

RELEASE = "install-test"
CRD = "agentsessions.agentsessions.dev"
LOADING_SECONDS = 60
LOCKED_DOWN = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


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

    @property
    def gateway(self) -> str:
        """The user name of the gateway's service account."""
        return f"{self.user}-gateway"


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
    """The permissions and policies of a release that serves all namespaces, once the API server judges by them."""
    manifests = access_objects(namespaces.namespace)
    kubectl.apply(*manifests)
    try:
        _until_judged(namespaces)
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


@pytest.fixture(scope="module")
def crd() -> Iterator[None]:
    """The kind of sessions as this checkout has it; a cluster that had none has none afterwards.

    Not for the whole run: Helm installs nothing over what is not its own.
    """
    made: helm.Manifest = yaml.safe_load((helm.ROOT / "crds" / f"{CRD}.yaml").read_text())
    found = kubectl.run("get", "crd", CRD, "--ignore-not-found", "--output", "json")
    if found:
        # What is Helm's stays Helm's: in its name, with its labels, so that its next upgrade meets no other owner.
        kept = json.loads(found)["metadata"]
        made["metadata"] = {"name": CRD, "labels": kept.get("labels"), "annotations": kept.get("annotations")}
    how = ("--server-side", "--force-conflicts", "--field-manager", "helm")
    kubectl.run("apply", *how, "--filename", "-", stdin=made)
    try:
        kubectl.run("wait", "--for=condition=Established", f"crd/{CRD}", "--timeout=30s")
        yield
    finally:
        if not found:
            kubectl.run("delete", "crd", CRD, "--timeout=60s")


def _until_judged(installation: Installation) -> None:
    """Wait until the API server, which loads policies some seconds after they were made, refuses what they forbid."""
    pod: helm.Manifest = {"metadata": {"labels": {"app": "unlabelled"}}, "spec": {"containers": [_container()]}}
    spec = {"serviceName": "none", "selector": {"matchLabels": pod["metadata"]["labels"]}, "template": pod}
    where = {"name": "unlabelled", "namespace": installation.watched}
    single = {"apiVersion": "v1", "kind": "Pod", "spec": pod["spec"], "metadata": where}
    hosts = {"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": spec, "metadata": where}
    deadline = time.monotonic() + LOADING_SECONDS
    while not (_is_refused(single, installation.user) and _is_refused(hosts, installation.user)):
        assert time.monotonic() < deadline, "the API server does not judge by the chart's admission policies"
        time.sleep(0.5)


def _container() -> helm.Manifest:
    """Return a container that Pod Security "restricted" accepts."""
    return {"name": "idle", "image": "example.com/idle:1", "securityContext": LOCKED_DOWN}


def _is_refused(made: helm.Manifest, user: str) -> bool:
    """Tell whether an admission policy refuses the object to the user; any other error is the test's own fault."""
    try:
        kubectl.run("create", "--dry-run=server", "--as", user, "--filename", "-", stdin=made)
    except kubectl.KubectlError as error:
        if "ValidatingAdmissionPolicy" not in str(error) and "is forbidden: User" not in str(error):
            raise
        return "ValidatingAdmissionPolicy" in str(error)
    return False


def _delete(manifests: list[helm.Manifest]) -> None:
    """Delete what was applied; the namespaces may be on their way already."""
    body = {"apiVersion": "v1", "kind": "List", "items": manifests}
    kubectl.run("delete", "--ignore-not-found", "--wait=false", "--filename", "-", stdin=body)
