"""The pod that removes what a deleted session has stored: locked down, its own network, no secret in its manifest."""

import base64
import json

from agentsessions.api.base import Json
from agentsessions.api.config import OperatorConfig
from agentsessions.api.host import HostDocument
from agentsessions.api.names import cleanup_name
from agentsessions.builders.cleanup import cleanup_pod, cleanup_secret
from agentsessions.policies.resolve import Settings, resolve
from unit.hybrid import NAME, UID, make_nap
from unit.make import NAMESPACE

CONFIG = OperatorConfig()
STORE = {"type": "Redis", "secretRef": {"name": "redis"}, "prefix": "team", "onDelete": "Delete"}
ARCHIVE = {"s3": {"bucket": "attic"}, "secretRef": {"name": "s3"}}
WORKSPACE = {"archive": ARCHIVE, "storage": "1Gi"}
SESSION = make_nap(sessionStore=STORE, workspace=WORKSPACE, nodeSelector={"a": "b"}).build()
POD = cleanup_name(NAME, UID)


def settings() -> Settings:
    """Return what the session runs with."""
    return resolve(SESSION.spec, None, CONFIG.defaults, template_name=None)


def build() -> Json:
    """Return the pod."""
    return cleanup_pod(SESSION, settings(), "policy")


def test_its_labels_bring_it_under_the_policy_and_its_session_to_the_queue() -> None:
    meta = build()["metadata"]
    assert meta["name"] == POD == f"{NAME}-{POD.split('-')[1]}-forget"
    assert "ownerReferences" not in meta, "a deletion in the foreground would take it away too early"
    assert meta["labels"] == {
        "app.kubernetes.io/managed-by": "agentsessions",
        "app.kubernetes.io/name": "agentsession",
        "app.kubernetes.io/component": "cleanup",
        "agentsessions.dev/session": NAME,
        "agentsessions.dev/session-uid": UID,
        "agentsessions.dev/attempt": "1",
        "agentsessions.dev/network-policy": "policy",
    }


def test_it_is_locked_down_bounded_and_runs_once() -> None:
    spec = build()["spec"]
    (container,) = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (spec["restartPolicy"], spec["activeDeadlineSeconds"]) == ("Never", 120)
    assert spec["nodeSelector"] == {"a": "b"}
    assert set(container["resources"]) == {"requests", "limits"}
    assert "ports" not in container


def test_it_has_the_sessions_credentials_and_nothing_of_its_files() -> None:
    spec = build()["spec"]
    (container,) = spec["containers"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert set(volumes) == {"session", "tmp", "store", "archive"}
    assert volumes["session"]["secret"]["secretName"] == POD
    assert volumes["store"]["secret"]["secretName"] == "redis"
    assert volumes["archive"]["secret"]["secretName"] == "s3"
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert container["args"] == ["store", "forget", UID]
    assert {var["name"] for var in container["env"]} == {"AGENTSESSIONS_SESSION_DIR", "HOME", "TMPDIR"}


def test_its_secret_says_where_things_are_and_goes_with_the_pod() -> None:
    made = cleanup_secret(SESSION, settings(), "pod-uid", CONFIG)
    assert made["metadata"]["name"] == POD
    owner = {"apiVersion": "v1", "kind": "Pod", "name": POD, "uid": "pod-uid"}
    assert made["metadata"]["ownerReferences"] == [owner]
    assert set(made["data"]) == {"host.json"}
    document = HostDocument.model_validate(json.loads(base64.b64decode(made["data"]["host.json"])))
    assert document.store is not None
    assert document.store.prefix == f"team/{NAMESPACE}"
    assert document.archive is not None
    assert document.archive.s3.bucket == "attic"
