"""Of a session the operator may change its own finalizer and nothing else, though RBAC lets it patch all."""

import json
from collections.abc import Iterator

import pytest

from install import kubectl
from install.conftest import RELEASE, Installation
from install.kubectl import Json

NAME = "policy"
OWN = "agentsessions.dev/stored-conversation"
OTHER = "example.com/other"


@pytest.fixture(scope="module")
def standing(cluster_wide: Installation, crd: None) -> Iterator[str]:
    """A session with a finalizer of somebody else's; it waits for a pool that never comes."""
    meta = {"name": NAME, "namespace": cluster_wide.watched, "finalizers": [OTHER]}
    spec = {"pattern": "LongRunning", "poolRef": {"name": "none"}}
    kubectl.apply({"apiVersion": "agentsessions.dev/v1alpha1", "kind": "AgentSession", "metadata": meta, "spec": spec})
    try:
        yield cluster_wide.watched
    finally:
        change(cluster_wide.watched, {"metadata": {"finalizers": None}})
        kubectl.run("delete", "agentsession", NAME, "--namespace", cluster_wide.watched, "--wait=false")


def change(namespace: str, patch: Json, *how: str) -> None:
    """Patch the session, as the administrator if nobody else is named."""
    where = ("agentsession", NAME, "--namespace", namespace)
    kubectl.run("patch", *where, "--type", "merge", "--patch", json.dumps(patch), *how)


@pytest.mark.parametrize("finalizers", [[OTHER, OWN], [OWN, OTHER]])
def test_its_own_finalizer_may_come_and_go(cluster_wide: Installation, standing: str, finalizers: list[str]) -> None:
    change(standing, {"metadata": {"finalizers": finalizers}}, "--as", cluster_wide.user, "--dry-run=server")
    change(standing, {"metadata": {"finalizers": finalizers}})
    change(standing, {"metadata": {"finalizers": [OTHER]}}, "--as", cluster_wide.user, "--dry-run=server")
    change(standing, {"metadata": {"finalizers": [OTHER]}})


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"spec": {"contentLogging": "Include"}}, "must not change `spec`"),
        ({"metadata": {"labels": {"a": "b"}}}, "must not change labels, annotations or owners"),
        ({"metadata": {"annotations": {"a": "b"}}}, "must not change labels, annotations or owners"),
        (
            {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "y"}]}},
            "must not change labels, annotations or owners",
        ),
        ({"metadata": {"finalizers": []}}, "must not change the finalizers of others"),
        ({"metadata": {"finalizers": [OTHER, "example.com/third"]}}, "must not change the finalizers of others"),
    ],
)
def test_nothing_else_may(cluster_wide: Installation, standing: str, patch: Json, message: str) -> None:
    with pytest.raises(kubectl.KubectlError) as refused:
        change(standing, patch, "--as", cluster_wide.user, "--dry-run=server")
    assert "ValidatingAdmissionPolicy" in str(refused.value)
    assert message in str(refused.value)


def test_users_are_none_of_its_business(standing: str) -> None:
    change(standing, {"spec": {"contentLogging": "Include"}, "metadata": {"labels": {"a": "b"}}}, "--dry-run=server")


def test_the_api_server_finds_no_fault_in_it(cluster_wide: Installation) -> None:
    found = kubectl.get("validatingadmissionpolicy", f"{RELEASE}-agentsessions.{cluster_wide.namespace}.sessions")
    assert not found.get("status", {}).get("typeChecking", {}).get("expressionWarnings")
