"""The operator may do what it does and nothing else; the list is written here a second time, on purpose."""

from typing import Any

import pytest

from chart import helm

FULLNAME = f"{helm.RELEASE}-agentsessions"
CLUSTER_NAME = f"{FULLNAME}.{helm.NAMESPACE}"
GROUP = "agentsessions.dev"
ALLOWED = {
    (GROUP, "agentsessions"): {"get", "list", "watch", "delete"},
    (GROUP, "agenttemplates"): {"get", "list", "watch"},
    (GROUP, "agentsessions/status"): {"get", "patch"},
    (GROUP, "agentsessions/finalizers"): {"update"},
    ("", "pods"): {"get", "list", "watch", "create", "delete"},
    ("", "secrets"): {"create"},
    ("", "persistentvolumeclaims"): {"get", "create"},
    ("", "events"): {"list"},
    ("networking.k8s.io", "networkpolicies"): {"get", "list", "watch", "create", "delete", "patch"},
    ("events.k8s.io", "events"): {"create"},
}


def granted(role: helm.Manifest) -> dict[tuple[str, str], set[str]]:
    """Return (group, resource) → verbs."""
    found: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        assert set(rule) == {"apiGroups", "resources", "verbs"}
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def roles(values: dict[str, Any] | None = None) -> list[helm.Manifest]:
    """Return every role that the chart makes, of both kinds."""
    manifests = helm.template(values)
    return helm.of_kind(manifests, "ClusterRole") + helm.of_kind(manifests, "Role")


def test_the_operator_has_exactly_these_permissions() -> None:
    assert granted(helm.named(helm.template(), "ClusterRole", CLUSTER_NAME)) == ALLOWED


def test_the_binding_names_the_operators_account() -> None:
    manifests = helm.template({"serviceAccount": {"name": "someone"}})
    binding = helm.named(manifests, "ClusterRoleBinding", CLUSTER_NAME)
    assert binding["roleRef"]["name"] == CLUSTER_NAME
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "someone", "namespace": helm.NAMESPACE}]
    pod = helm.named(manifests, "Deployment", FULLNAME)["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "someone"


def test_watched_namespaces_get_a_role_each_and_no_cluster_wide_permission() -> None:
    values = {"watchNamespaces": ["team-a", "team-b"]}
    manifests = helm.template(values)
    for role in helm.of_kind(manifests, "ClusterRole"):
        assert {group for group, _ in granted(role)} == {GROUP}, "only the roles for users remain"
    assert helm.of_kind(manifests, "ClusterRoleBinding") == []
    made = helm.of_kind(manifests, "Role")
    assert [role["metadata"]["namespace"] for role in made] == ["team-a", "team-b"]
    assert all(granted(role) == ALLOWED for role in made)
    bindings = helm.of_kind(manifests, "RoleBinding")
    assert [binding["metadata"]["namespace"] for binding in bindings] == ["team-a", "team-b"]
    assert {binding["subjects"][0]["namespace"] for binding in bindings} == {helm.NAMESPACE}


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["team-a"]}, helm.with_egress()])
def test_no_role_has_a_wildcard_or_reads_secrets_or_enters_pods(values: dict[str, Any]) -> None:
    for role in roles(values):
        for (group, resource), verbs in granted(role).items():
            assert "*" not in {group, resource, *verbs}
            assert resource not in {"pods/exec", "pods/attach", "pods/log", "pods/portforward"}
            assert resource != "secrets" or verbs == {"create"}
            assert not verbs & {"escalate", "bind", "impersonate"}


def test_users_of_the_cluster_roles_get_the_resources() -> None:
    manifests = helm.template()
    view = helm.named(manifests, "ClusterRole", f"{CLUSTER_NAME}.view")
    edit = helm.named(manifests, "ClusterRole", f"{CLUSTER_NAME}.edit")
    aggregate = "rbac.authorization.k8s.io/aggregate-to-"
    assert {label for label in view["metadata"]["labels"] if label.startswith(aggregate)} == {
        f"{aggregate}{role}" for role in ("view", "edit", "admin")
    }
    assert {label for label in edit["metadata"]["labels"] if label.startswith(aggregate)} == {
        f"{aggregate}{role}" for role in ("edit", "admin")
    }
    assert all(verbs <= {"get", "list", "watch"} for verbs in granted(view).values())
    assert granted(edit) == {
        (GROUP, kind): {"create", "update", "patch", "delete", "deletecollection"}
        for kind in ("agentsessions", "agenttemplates")
    }, "nobody but the operator writes status"


def test_permissions_can_be_left_to_the_cluster_admin() -> None:
    values = {"rbac": {"create": False, "aggregateRoles": False}, "watchNamespaces": ["team-a"]}
    kinds = {manifest["kind"] for manifest in helm.template(values)}
    assert not kinds & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def test_an_account_that_is_not_made_must_be_named() -> None:
    with pytest.raises(helm.HelmError, match=r"serviceAccount\.name must name an existing account"):
        helm.template({"serviceAccount": {"create": False}})
