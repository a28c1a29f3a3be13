"""The API server refuses pods of the operator that are not locked down, and lets the builder's own pod through."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from agentsessions.api.config import Gateway, OperatorConfig
from agentsessions.api.pool import AgentPool, AgentPoolSpec
from agentsessions.api.session import AgentSession, AgentSessionSpec, ObjectMeta
from agentsessions.api.template import Security, TemplateFields
from agentsessions.builders.pod import session_pod
from agentsessions.builders.pool.hosts import hosts
from agentsessions.policies.capacity import host_size
from agentsessions.policies.resolve import resolve
from install import kubectl
from install.conftest import RELEASE, Installation
from install.kubectl import Json

Change = Callable[[Json], None]
POOL_UID = "6f0c1b9e-0000-4000-8000-000000000002"


def agent_pod(namespace: str, security: Security | None = None) -> Json:
    """Return the pod that the operator would make for a small session."""
    uid = "6f0c1b9e-0000-4000-8000-000000000001"
    meta = ObjectMeta(name="policy", namespace=namespace, uid=uid, creation_timestamp=datetime.now(UTC))
    spec = AgentSessionSpec(pattern="Ephemeral", prompt="hello", security=security)
    settings = resolve(spec, None, TemplateFields(), template_name=None)
    deadline = timedelta(minutes=1)
    pod = session_pod(
        AgentSession(metadata=meta, spec=spec),
        settings,
        0,
        secret="none",
        policy_label="none",
        deadline=deadline,
        gateway=Gateway(),
    )
    # An owner that does not exist is no concern of the policy.
    del pod["metadata"]["ownerReferences"]
    return pod


def host_set(namespace: str) -> Json:
    """Return the StatefulSet that the operator would make for a small pool."""
    meta = ObjectMeta(name="policy", namespace=namespace, uid=POOL_UID, creation_timestamp=datetime.now(UTC))
    pool = AgentPool(metadata=meta, spec=AgentPoolSpec())
    settings = resolve(TemplateFields(), None, TemplateFields(), template_name=None)
    made = hosts(pool, settings, host_size(pool.spec), 1, "none", "none", OperatorConfig())
    del made["metadata"]["ownerReferences"]
    return made


def create(pod: Json, user: str | None) -> None:
    """Create the pod as `user`, None being the administrator, without keeping it."""
    identity = () if user is None else ("--as", user)
    kubectl.run("create", "--dry-run=server", *identity, "--filename", "-", stdin=pod)


def container(pod: Json) -> Json:
    """Return the agent's container."""
    found: Json = pod["spec"]["containers"][0]
    return found


def root_by_user_namespace(pod: Json) -> None:
    pod["spec"] |= {"hostUsers": False, "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}
    container(pod)["securityContext"] |= {"runAsNonRoot": False, "runAsUser": 0}


def uid_zero(pod: Json) -> None:
    pod["spec"]["hostUsers"] = False
    pod["spec"]["securityContext"]["runAsUser"] = 0


def keeps_capabilities(pod: Json) -> None:
    del container(pod)["securityContext"]["capabilities"]


def adds_a_capability(pod: Json) -> None:
    container(pod)["securityContext"]["capabilities"]["add"] = ["NET_BIND_SERVICE"]


def may_escalate(pod: Json) -> None:
    del container(pod)["securityContext"]["allowPrivilegeEscalation"]


def second_container_is_loose(pod: Json) -> None:
    pod["spec"]["initContainers"] = [{"name": "loose", "image": "example.com/loose:1"}]


def shares_the_nodes_network(pod: Json) -> None:
    pod["spec"]["hostNetwork"] = True


def mounts_the_node(pod: Json) -> None:
    pod["spec"]["volumes"].append({"name": "node", "hostPath": {"path": "/"}})


def gets_a_token(pod: Json) -> None:
    del pod["spec"]["automountServiceAccountToken"]


def mounts_a_token(pod: Json) -> None:
    token = {"serviceAccountToken": {"path": "token"}}
    pod["spec"]["volumes"].append({"name": "token", "projected": {"sources": [token]}})


def hides_its_maker(pod: Json) -> None:
    del pod["metadata"]["labels"]["app.kubernetes.io/managed-by"]


BROKEN: list[tuple[Change, str]] = [
    (root_by_user_namespace, "must set `runAsNonRoot: true` for every container"),
    (uid_zero, "must not set `runAsUser: 0`"),
    (keeps_capabilities, "must drop ALL capabilities"),
    (adds_a_capability, "must drop ALL capabilities in every container and add none"),
    (may_escalate, "must set `allowPrivilegeEscalation: false`"),
    (second_container_is_loose, "must drop ALL capabilities"),
    (shares_the_nodes_network, "must not use the node's network"),
    (mounts_the_node, "must not use the node's network, processes, IPC or files"),
    (gets_a_token, "must set `automountServiceAccountToken: false`"),
    (mounts_a_token, "mount no service account token"),
    (hides_its_maker, "must carry the label app.kubernetes.io/managed-by: agentsessions"),
]


@pytest.fixture(scope="module")
def unfenced(cluster_wide: Installation) -> str:
    """A namespace without a Pod Security level, so that only the policy can refuse."""
    kubectl.run("label", "namespace", cluster_wide.other, "pod-security.kubernetes.io/enforce-")
    return cluster_wide.other


@pytest.mark.parametrize("security", [None, Security(host_users=False)])
def test_the_builders_pod_is_accepted(cluster_wide: Installation, security: Security | None) -> None:
    create(agent_pod(cluster_wide.watched, security), cluster_wide.user)


@pytest.mark.parametrize(("change", "message"), BROKEN, ids=[change.__name__ for change, _ in BROKEN])
def test_a_pod_that_is_not_locked_down_is_refused(
    cluster_wide: Installation, unfenced: str, change: Change, message: str
) -> None:
    pod = agent_pod(unfenced)
    create(copy.deepcopy(pod), cluster_wide.user)
    change(pod)
    with pytest.raises(kubectl.KubectlError) as refused:
        create(pod, cluster_wide.user)
    assert "ValidatingAdmissionPolicy" in str(refused.value)
    assert message in str(refused.value)


@pytest.mark.parametrize(("change", "message"), BROKEN, ids=[change.__name__ for change, _ in BROKEN])
def test_hosts_that_are_not_locked_down_are_refused(
    cluster_wide: Installation, unfenced: str, change: Change, message: str
) -> None:
    made = host_set(unfenced)
    create(copy.deepcopy(made), cluster_wide.user)
    change(made["spec"]["template"])
    with pytest.raises(kubectl.KubectlError) as refused:
        create(made, cluster_wide.user)
    assert "ValidatingAdmissionPolicy" in str(refused.value)
    assert message in str(refused.value)


@pytest.mark.usefixtures("cluster_wide")
def test_pods_of_others_are_none_of_its_business(unfenced: str) -> None:
    pod = agent_pod(unfenced)
    mounts_the_node(pod)
    create(pod, None)


@pytest.mark.parametrize("kind", ["", ".hosts"])
def test_the_api_server_finds_no_fault_in_the_policy(cluster_wide: Installation, kind: str) -> None:
    name = f"{RELEASE}-agentsessions.{cluster_wide.namespace}{kind}"
    status = kubectl.get("validatingadmissionpolicy", name).get("status", {})
    assert not status.get("typeChecking", {}).get("expressionWarnings")
