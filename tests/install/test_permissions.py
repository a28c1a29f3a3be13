"""What the API server itself says that the operator may do, asked as the operator."""

import json

import pytest

from install import kubectl
from install.conftest import Installation

SESSIONS = "agentsessions.agentsessions.dev"
TEMPLATES = "agenttemplates.agentsessions.dev"
POOLS = "agentpools.agentsessions.dev"
HOSTS = "statefulsets.apps"
ALLOWED = [
    ("watch", POOLS),
    ("patch", f"{POOLS}/status"),
    ("update", f"{POOLS}/finalizers"),
    ("watch", HOSTS),
    ("create", HOSTS),
    ("patch", HOSTS),
    ("create", "services"),
    ("create", "poddisruptionbudgets.policy"),
    ("list", SESSIONS),
    ("delete", SESSIONS),
    ("patch", SESSIONS),
    ("patch", f"{SESSIONS}/status"),
    ("update", f"{SESSIONS}/finalizers"),
    ("watch", TEMPLATES),
    ("create", "pods"),
    ("delete", "pods"),
    ("patch", "pods"),
    ("create", "secrets"),
    ("create", "persistentvolumeclaims"),
    ("patch", "networkpolicies.networking.k8s.io"),
    ("create", "events.events.k8s.io"),
    ("list", "events"),
]
REFUSED = [
    ("patch", POOLS),
    ("delete", POOLS),
    ("delete", HOSTS),
    ("delete", "services"),
    ("create", SESSIONS),
    ("update", SESSIONS),
    ("patch", TEMPLATES),
    ("get", "secrets"),
    ("list", "secrets"),
    ("watch", "secrets"),
    ("delete", "secrets"),
    ("update", "pods"),
    ("patch", "pods/status"),
    ("create", "pods/exec"),
    ("get", "pods/log"),
    ("create", "pods/ephemeralcontainers"),
    ("delete", "persistentvolumeclaims"),
    ("get", "configmaps"),
    ("create", "serviceaccounts/token"),
    ("create", "rolebindings.rbac.authorization.k8s.io"),
    ("get", "nodes"),
]


def may(user: str, verb: str, resource: str, namespace: str) -> bool:
    """Return what the API server answers to a SubjectAccessReview; `resource` is plural[.group][/subresource]."""
    kind, _, subresource = resource.partition("/")
    plural, _, group = kind.partition(".")
    attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": plural, "subresource": subresource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    answer = json.loads(kubectl.run("create", "--output", "json", "--filename", "-", stdin=review))
    return bool(answer["status"]["allowed"])


@pytest.mark.parametrize(("verb", "resource"), ALLOWED)
def test_the_operator_may(cluster_wide: Installation, verb: str, resource: str) -> None:
    assert may(cluster_wide.user, verb, resource, cluster_wide.watched)


@pytest.mark.parametrize(("verb", "resource"), REFUSED)
def test_the_operator_may_not(cluster_wide: Installation, verb: str, resource: str) -> None:
    assert not may(cluster_wide.user, verb, resource, cluster_wide.watched)


@pytest.mark.parametrize(("verb", "resource"), ALLOWED)
def test_an_operator_of_one_namespace_may_nothing_in_another(
    namespaced: Installation, verb: str, resource: str
) -> None:
    assert may(namespaced.user, verb, resource, namespaced.watched)
    assert not may(namespaced.user, verb, resource, namespaced.other)
