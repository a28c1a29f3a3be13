"""Of a pod the operator may change the marks of `disruption` and nothing else, though RBAC lets it patch all."""

import json
from collections.abc import Iterator

import pytest

from install import kubectl
from install.conftest import RELEASE, Installation
from install.kubectl import Json

NAME = "marked"
MARK = "agentsessions.dev/disruption"
SAFE = "cluster-autoscaler.kubernetes.io/safe-to-evict"


@pytest.fixture(scope="module")
def standing(cluster_wide: Installation) -> Iterator[str]:
    """Two pods that no node ever takes: one with the operator's label, one without."""
    for name, labels in ((NAME, {"app.kubernetes.io/managed-by": "agentsessions"}), ("other", {"app": "web"})):
        kubectl.apply(pod(cluster_wide.watched, name, labels))
    try:
        yield cluster_wide.watched
    finally:
        kubectl.run("delete", "pod", NAME, "other", "--namespace", cluster_wide.watched, "--wait=false")


def pod(namespace: str, name: str, labels: Json) -> Json:
    """Return a pod that waits for a node that there is not."""
    container = {
        "name": "agent",
        "image": "registry.example.com/none:1",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    safe = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"nodeSelector": {"no": "such"}, "containers": [container], "securityContext": safe}
    meta = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def change(namespace: str, patch: Json, user: str, name: str = NAME) -> None:
    """Patch the pod as `user`, without keeping it."""
    where = ("pod", name, "--namespace", namespace, "--dry-run=server", "--as", user)
    kubectl.run("patch", *where, "--type", "merge", "--patch", json.dumps(patch))


@pytest.mark.parametrize("mark", ["Safe", None])
def test_its_marks_may_come_change_and_go(cluster_wide: Installation, standing: str, mark: str | None) -> None:
    change(standing, {"metadata": {"labels": {MARK: mark}, "annotations": {SAFE: mark and "true"}}}, cluster_wide.user)


@pytest.mark.parametrize(
    ("name", "patch", "message"),
    [
        (NAME, {"spec": {"activeDeadlineSeconds": 5}}, "must not change `spec`"),
        (NAME, {"metadata": {"labels": {"a": "b"}}}, "must not change labels and annotations"),
        (NAME, {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}, "must not change labels"),
        (NAME, {"metadata": {"annotations": {"a": "b"}}}, "must not change labels and annotations"),
        (NAME, {"metadata": {"finalizers": ["example.com/x"]}}, "must not change owners or finalizers"),
        ("other", {"metadata": {"labels": {MARK: "Never"}}}, "must not change pods that are not its own"),
    ],
)
def test_nothing_else_may(cluster_wide: Installation, standing: str, name: str, patch: Json, message: str) -> None:
    with pytest.raises(kubectl.KubectlError) as refused:
        change(standing, patch, cluster_wide.user, name)
    assert "ValidatingAdmissionPolicy" in str(refused.value)
    assert message in str(refused.value)


def test_the_api_server_finds_no_fault_in_it(cluster_wide: Installation) -> None:
    found = kubectl.get("validatingadmissionpolicy", f"{RELEASE}-agentsessions.{cluster_wide.namespace}.marks")
    assert not found.get("status", {}).get("typeChecking", {}).get("expressionWarnings")
