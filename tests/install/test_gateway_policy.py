"""The gateway can ask for a session that sleeps and change nothing else of it, says the API server itself."""

import json
import time
from collections.abc import Iterator

import pytest

from install import kubectl
from install.conftest import LOADING_SECONDS, RELEASE, Installation
from install.kubectl import Json

NAME = "diary"
ASKED = {"lastRequestTime": "2026-01-02T03:04:05.000001Z"}
HOST = {"pod": "diary-1", "podUID": "6f0c1b9e-0000-4000-8000-000000000003"}
READY = {"type": "Ready", "reason": "Asleep", "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z"}
STATUS: Json = {"conditions": [READY | {"status": "True"}], "host": HOST, "wakes": 1}
FORBIDDEN: dict[str, Json] = {
    "conditions": {"conditions": [READY | {"status": "False"}]},
    "no-conditions": {"conditions": None},
    "pod": {"host": HOST | {"podUID": "6f0c1b9e-0000-4000-8000-000000000004"}},
    "answer": {"answeredRequestTime": "2026-01-02T03:04:05.000001Z"},
    "wakes": {"wakes": 7},
    "usage": {"usage": {"costUsd": "0"}},
    "archive": {"archive": {"generation": 9, "size": 1, "digest": "sha256:0"}},
}


@pytest.fixture(scope="module")
def sleeper(cluster_wide: Installation, crd: None) -> Iterator[Installation]:
    """A session with a status, once the API server judges what the gateway does to it."""
    meta = {"name": NAME, "namespace": cluster_wide.watched}
    api = {"apiVersion": "agentsessions.dev/v1alpha1", "kind": "AgentSession"}
    kubectl.apply({**api, "metadata": meta, "spec": {"pattern": "Hybrid", "suspended": True}}, *readable(cluster_wide))
    try:
        patch(cluster_wide, {"status": STATUS}, user=None, keep=True)
        _until_judged(cluster_wide)
        yield cluster_wide
    finally:
        kubectl.run("delete", "agentsession", NAME, "--namespace", cluster_wide.watched, "--wait=false")


def readable(installation: Installation) -> list[Json]:
    """Return what lets the gateway read the status by itself: it need not, but kubectl reads before it patches."""
    group = "rbac.authorization.k8s.io"
    meta = {"name": "reads-status", "namespace": installation.watched}
    rule = {"apiGroups": ["agentsessions.dev"], "resources": ["agentsessions/status"], "verbs": ["get"]}
    user = {"apiGroup": group, "kind": "User", "name": installation.gateway}
    role = {"apiGroup": group, "kind": "Role", "name": "reads-status"}
    return [
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": meta, "rules": [rule]},
        {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": meta, "roleRef": role, "subjects": [user]},
    ]


def patch(
    installation: Installation, change: Json, *, user: str | None, keep: bool = False, part: str = "status"
) -> Json:
    """Merge a change into the session as `user`, None being the administrator; return what comes of it."""
    who = () if user is None else ("--as", user)
    where = ("--namespace", installation.watched, *(("--subresource", part) if part else ()))
    how = (
        "--type",
        "merge",
        "--patch",
        json.dumps(change),
        "--output",
        "json",
        *(() if keep else ("--dry-run=server",)),
    )
    found: Json = json.loads(kubectl.run("patch", "agentsession", NAME, *where, *who, *how))
    return found


def _until_judged(installation: Installation) -> None:
    """Wait until the API server has loaded the policy."""
    deadline = time.monotonic() + LOADING_SECONDS
    while True:
        try:
            patch(installation, {"status": FORBIDDEN["wakes"]}, user=installation.gateway)
        except kubectl.KubectlError as error:
            if "ValidatingAdmissionPolicy" in str(error):
                return
            raise
        assert time.monotonic() < deadline, "the API server does not judge by the gateway's admission policy"
        time.sleep(0.5)


def test_the_gateway_asks_for_a_session(sleeper: Installation) -> None:
    found = patch(sleeper, {"status": ASKED}, user=sleeper.gateway)
    assert found["status"]["lastRequestTime"] == ASKED["lastRequestTime"]


@pytest.mark.parametrize("change", FORBIDDEN.values(), ids=FORBIDDEN.keys())
@pytest.mark.parametrize("with_it", [{}, ASKED], ids=["alone", "besides"])
def test_the_gateway_changes_nothing_else_of_the_status(sleeper: Installation, change: Json, with_it: Json) -> None:
    with pytest.raises(kubectl.KubectlError) as refused:
        patch(sleeper, {"status": change | with_it}, user=sleeper.gateway)
    assert "ValidatingAdmissionPolicy" in str(refused.value)
    assert "`status.lastRequestTime`" in str(refused.value)


def test_the_gateway_does_not_reach_the_spec_by_way_of_the_status(sleeper: Installation) -> None:
    change = {"spec": {"suspended": False}, "metadata": {"labels": {"a": "b"}}, "status": ASKED}
    found = patch(sleeper, change, user=sleeper.gateway)
    assert found["spec"]["suspended"] is True
    assert "labels" not in found["metadata"]


def test_the_gateway_may_not_write_the_session_itself(sleeper: Installation) -> None:
    with pytest.raises(kubectl.KubectlError) as refused:
        patch(sleeper, {"spec": {"suspended": False}}, user=sleeper.gateway, part="")
    assert "cannot patch resource" in str(refused.value)


@pytest.mark.parametrize("change", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_the_operator_and_the_administrator_are_not_held_to_it(sleeper: Installation, change: Json) -> None:
    for user in (sleeper.user, None):
        patch(sleeper, {"status": change}, user=user)


def test_the_api_server_finds_no_fault_in_the_policy(sleeper: Installation) -> None:
    name = f"{RELEASE}-agentsessions.{sleeper.namespace}.gateway"
    deadline = time.monotonic() + LOADING_SECONDS
    while not (status := kubectl.get("validatingadmissionpolicy", name).get("status")):
        assert time.monotonic() < deadline, "nobody checks the policy"
        time.sleep(0.5)
    assert not status.get("typeChecking", {}).get("expressionWarnings")
