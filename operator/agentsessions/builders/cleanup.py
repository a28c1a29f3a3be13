"""The pod that removes what a deleted session has left in its store and bucket; pure.

It needs the session's own credentials, which only pods of its namespace can have. The session does not own it: a
deletion in the foreground would end it before its work is done. It owns its Secret, and the operator deletes it.
"""

from agentsessions.api.base import Json
from agentsessions.api.config import OperatorConfig
from agentsessions.api.names import (
    CLEANUP,
    CONTAINER,
    LABEL_ATTEMPT,
    LABEL_NETWORK_POLICY,
    LABEL_SESSION,
    LABEL_SESSION_UID,
    cleanup_name,
    common_labels,
)
from agentsessions.api.session import AgentSession
from agentsessions.builders.contract import SESSION_DIR, TMP_DIR
from agentsessions.builders.environment import template_variables
from agentsessions.builders.hosting import HOST_FILE, host_files
from agentsessions.builders.ownhost import own_host_document
from agentsessions.builders.pod import container_isolation, isolation, placement
from agentsessions.builders.storage import storage_mounts, storage_volumes
from agentsessions.policies.resolve import Settings

REFUSED = 2
"""Exit code of a cleanup that another try cannot help."""
DEADLINE_SECONDS = 120
"""Bound of the pod's life, should nobody be there to end it."""

_RESOURCES = {
    "requests": {"cpu": "50m", "memory": "128Mi", "ephemeral-storage": "64Mi"},
    "limits": {"cpu": "1", "memory": "512Mi", "ephemeral-storage": "64Mi"},
}


def cleanup_pod(session: AgentSession, settings: Settings, policy_label: str) -> Json:
    """Return the pod; it waits for its Secret, which is made when its uid is known."""
    meta = session.metadata
    name = cleanup_name(meta.name, meta.uid)
    labels = _labels(session) | {LABEL_ATTEMPT: str(session.status.wakes + 1), LABEL_NETWORK_POLICY: policy_label}
    items = [{"key": HOST_FILE, "path": HOST_FILE}]
    spec = isolation(settings) | placement(settings)
    spec |= {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": DEADLINE_SECONDS,
        "terminationGracePeriodSeconds": 5,
        "containers": [_container(session, settings)],
        "volumes": [
            {"name": "session", "secret": {"secretName": name, "defaultMode": 0o440, "items": items}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            *storage_volumes(settings, name),
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": meta.namespace, "labels": labels},
        "spec": spec,
    }


def cleanup_secret(session: AgentSession, settings: Settings, pod_uid: str, config: OperatorConfig) -> Json:
    """Return the Secret with host.json, which goes with the pod."""
    meta = session.metadata
    name = cleanup_name(meta.name, meta.uid)
    owner = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": pod_uid}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": meta.namespace,
            "labels": _labels(session),
            "ownerReferences": [owner],
        },
        "type": "agentsessions.dev/host",
        "immutable": True,
        "data": host_files(own_host_document(session, settings), settings, config),
    }


def _container(session: AgentSession, settings: Settings) -> Json:
    """Return the container; what it says last is what the session's event repeats."""
    fixed = {"AGENTSESSIONS_SESSION_DIR": SESSION_DIR, "HOME": TMP_DIR, "TMPDIR": TMP_DIR}
    return {
        "name": CONTAINER,
        "image": settings.fields.image,
        "imagePullPolicy": settings.fields.image_pull_policy,
        "args": ["store", "forget", session.metadata.uid],
        "env": template_variables(fixed, settings, fixed.keys()),
        "resources": _RESOURCES,
        "volumeMounts": [
            {"name": "session", "mountPath": SESSION_DIR, "readOnly": True},
            {"name": "tmp", "mountPath": TMP_DIR},
            *storage_mounts(settings),
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": container_isolation(),
    }


def _labels(session: AgentSession) -> dict[str, str]:
    meta = session.metadata
    return common_labels(CLEANUP) | {LABEL_SESSION: meta.name, LABEL_SESSION_UID: meta.uid}
