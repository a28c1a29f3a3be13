"""The operator may do what it does and nothing else; the list is written here a second time, on purpose."""

from typing import Any

import pytest

from chart import helm

FULLNAME = f"{helm.RELEASE}-agentsessions"
CLUSTER_NAME = f"{FULLNAME}.{helm.NAMESPACE}"
GROUP = "agentsessions.dev"
ALLOWED = {
    (GROUP, "agentsessions"): {"get", "list", "watch", "delete", "patch"},
    (GROUP, "agenttemplates"): {"get", "list", "watch"},
    (GROUP, "agentpools"): {"get", "list", "watch"},
    (GROUP, "agentsessions/status"): {"get", "patch"},
    (GROUP, "agentpools/status"): {"get", "patch"},
    (GROUP, "agentsessions/finalizers"): {"update"},
    (GROUP, "agentpools/finalizers"): {"update"},
    ("", "pods"): {"get", "list", "watch", "create", "delete", "patch"},
    ("", "secrets"): {"create"},
    ("", "persistentvolumeclaims"): {"get", "create"},
    ("", "events"): {"list"},
    ("networking.k8s.io", "networkpolicies"): {"get", "list", "watch", "create", "delete", "patch"},
    ("events.k8s.io", "events"): {"create"},
    ("apps", "statefulsets"): {"get", "list", "watch", "create", "patch"},
    ("apps", "controllerrevisions"): {"list"},
    ("", "services"): {"get", "create", "patch"},
    ("policy", "poddisruptionbudgets"): {"get", "create", "patch"},
}
WRITE = {"create", "update", "patch", "delete", "deletecollection"}
SIGNING_KEY = f"{FULLNAME}-signing-key"
LEADER = f"{FULLNAME}-leader"
SIGNING = {("", "secrets"): {"create"}, ("", f"secrets={SIGNING_KEY}"): {"get"}}
REVIEWS = {
    ("authentication.k8s.io", "tokenreviews"): {"create"},
    ("authorization.k8s.io", "subjectaccessreviews"): {"create"},
}
SEEN_BY_GATEWAY = {
    (GROUP, "agentsessions"): {"get", "list", "watch"},
    (GROUP, "agentsessions/status"): {"patch"},
    (GROUP, "agentpools"): {"get", "list", "watch"},
    ("", "pods"): {"get", "list", "watch"},
}


def granted(role: helm.Manifest) -> dict[tuple[str, str], set[str]]:
    """Return (group, resource) → verbs; a resource that is restricted to one name reads resource=name."""
    found: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        assert {"apiGroups", "resources", "verbs"} <= set(rule) <= {"apiGroups", "resources", "verbs", "resourceNames"}
        names = [f"={name}" for name in rule["resourceNames"]] if "resourceNames" in rule else [""]
        assert names, "an empty list of names restricts nothing"
        for group in rule["apiGroups"]:
            for resource in (resource + name for resource in rule["resources"] for name in names):
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def bound(manifests: list[helm.Manifest]) -> dict[tuple[str, str, str], str]:
    """Return (kind, namespace, role) → account of every binding, each of which names one account of the release."""
    found: dict[tuple[str, str, str], str] = {}
    for kind in ("ClusterRole", "Role"):
        for binding in helm.of_kind(manifests, f"{kind}Binding"):
            assert binding["roleRef"]["kind"] == kind
            (subject,) = binding["subjects"]
            assert (subject["kind"], subject["namespace"]) == ("ServiceAccount", helm.NAMESPACE)
            key = (kind, binding["metadata"].get("namespace", ""), binding["roleRef"]["name"])
            assert key not in found
            found[key] = subject["name"]
    return found


def roles(values: dict[str, Any] | None = None) -> list[helm.Manifest]:
    """Return every role that the chart makes, of both kinds."""
    manifests = helm.template(values)
    return helm.of_kind(manifests, "ClusterRole") + helm.of_kind(manifests, "Role")


def test_the_operator_has_exactly_these_permissions() -> None:
    assert granted(helm.named(helm.template(), "ClusterRole", CLUSTER_NAME)) == ALLOWED


@pytest.mark.parametrize("watched", [[], ["team-a"]])
def test_namespaces_are_listed_only_where_tenants_are_known_by_their_labels(watched: list[str]) -> None:
    name, account = f"{CLUSTER_NAME}-tenants", FULLNAME
    values: dict[str, Any] = {"watchNamespaces": watched}
    assert ("", "namespaces") not in {what for role in roles(values) for what in granted(role)}
    values |= {"admission": {"tenantLabel": "example.com/tenant", "tenants": {"acme": {"running": 5}}}}
    manifests = helm.template(values)
    assert granted(helm.named(manifests, "ClusterRole", name)) == {("", "namespaces"): {"list"}}
    assert bound(manifests)["ClusterRole", "", name] == account
    assert [role["metadata"]["name"] for role in roles(values) if ("", "namespaces") in granted(role)] == [name]


def test_the_binding_names_the_operators_account() -> None:
    manifests = helm.template({"serviceAccount": {"name": "someone"}})
    binding = helm.named(manifests, "ClusterRoleBinding", CLUSTER_NAME)
    assert binding["roleRef"]["name"] == CLUSTER_NAME
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "someone", "namespace": helm.NAMESPACE}]
    pod = helm.named(manifests, "Deployment", FULLNAME)["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "someone"


def test_watched_namespaces_get_a_role_each_and_no_cluster_wide_permission() -> None:
    values = {"watchNamespaces": ["team-a", "team-b"], "gateway": {"enabled": False}}
    manifests = helm.template(values)
    for role in helm.of_kind(manifests, "ClusterRole"):
        assert {group for group, _ in granted(role)} == {GROUP}, "only the roles for users remain"
    made = {(role["metadata"]["namespace"], role["metadata"]["name"]): role for role in helm.of_kind(manifests, "Role")}
    own = {(helm.NAMESPACE, SIGNING_KEY), (helm.NAMESPACE, LEADER)}
    assert set(made) == {("team-a", CLUSTER_NAME), ("team-b", CLUSTER_NAME), *own}
    assert all(granted(role) == ALLOWED for key, role in made.items() if key not in own)
    assert bound(manifests) == {("Role", *key): FULLNAME for key in made}


def test_the_key_is_read_by_its_name_in_the_releases_namespace_by_the_operator_only() -> None:
    manifests = helm.template(helm.with_egress())
    role = helm.named(manifests, "Role", SIGNING_KEY)
    assert role["metadata"]["namespace"] == helm.NAMESPACE
    assert granted(role) == SIGNING
    assert bound(manifests)["Role", helm.NAMESPACE, SIGNING_KEY] == FULLNAME


def test_the_lease_is_written_by_its_name() -> None:
    role = helm.named(helm.template(), "Role", LEADER)
    assert granted(role) == {
        ("coordination.k8s.io", "leases"): {"create"},
        ("coordination.k8s.io", f"leases={FULLNAME}"): {"get", "patch"},
    }


def test_the_gateway_asks_for_reviews_and_sees_sessions_pools_and_pods() -> None:
    manifests = helm.template()
    name = f"{CLUSTER_NAME}.gateway"
    assert granted(helm.named(manifests, "ClusterRole", name)) == REVIEWS | SEEN_BY_GATEWAY
    assert bound(manifests) == {
        ("ClusterRole", "", CLUSTER_NAME): FULLNAME,
        ("ClusterRole", "", name): f"{FULLNAME}-gateway",
        ("Role", helm.NAMESPACE, SIGNING_KEY): FULLNAME,
        ("Role", helm.NAMESPACE, LEADER): FULLNAME,
    }
    pod = helm.named(manifests, "Deployment", f"{FULLNAME}-gateway")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == f"{FULLNAME}-gateway"


def test_the_gateway_of_watched_namespaces_has_reviews_only_beyond_them() -> None:
    manifests = helm.template({"watchNamespaces": ["team-a", "team-b"]})
    name = f"{CLUSTER_NAME}.gateway"
    assert granted(helm.named(manifests, "ClusterRole", name)) == REVIEWS
    made = [role for role in helm.of_kind(manifests, "Role") if role["metadata"]["name"] == name]
    assert [role["metadata"]["namespace"] for role in made] == ["team-a", "team-b"]
    assert all(granted(role) == SEEN_BY_GATEWAY for role in made)
    accounts = {key: account for key, account in bound(manifests).items() if account.endswith("-gateway")}
    assert set(accounts) == {("ClusterRole", "", name), ("Role", "team-a", name), ("Role", "team-b", name)}


@pytest.mark.parametrize(
    "values", [{}, {"watchNamespaces": ["team-a"]}, helm.with_egress(), {"gateway": {"enabled": False}}]
)
def test_no_role_has_a_wildcard_or_reads_secrets_or_enters_pods(values: dict[str, Any]) -> None:
    for role in roles(values):
        for (group, resource), verbs in granted(role).items():
            assert "*" not in {group, resource, *verbs}
            assert resource not in {"pods/exec", "pods/attach", "pods/log", "pods/portforward"}
            assert resource != "secrets" or verbs == {"create"}
            assert not resource.startswith("secrets=") or (resource, verbs) == (f"secrets={SIGNING_KEY}", {"get"})
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
    assert {(GROUP, "agentsessions"), (GROUP, "agenttemplates"), (GROUP, "agentpools")} <= set(granted(view))
    changed = dict.fromkeys(("agentsessions", "agenttemplates", "agentpools"), WRITE)
    scaled = {"agentpools/scale": {"get", "update", "patch"}}
    parts = ("agentsessions/conversation", "agentsessions/ports", "agentpools/conversation")
    talked_to = {part: {"get", "create"} for part in parts}
    assert granted(edit) == {(GROUP, name): verbs for name, verbs in (changed | scaled | talked_to).items()}, (
        "nobody but the operator writes status"
    )


def test_who_may_only_view_may_not_talk() -> None:
    view = helm.named(helm.template(), "ClusterRole", f"{CLUSTER_NAME}.view")
    assert not {resource for _, resource in granted(view) if resource.endswith(("/conversation", "/ports"))}


def test_permissions_can_be_left_to_the_cluster_admin() -> None:
    values = {"rbac": {"create": False, "aggregateRoles": False}, "watchNamespaces": ["team-a"]}
    kinds = {manifest["kind"] for manifest in helm.template(values)}
    assert not kinds & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def test_an_account_that_is_not_made_must_be_named() -> None:
    with pytest.raises(helm.HelmError, match=r"serviceAccount\.name must name an existing account"):
        helm.template({"serviceAccount": {"create": False}})
