"""The pod of one attempt: Pod Security "restricted", no service account token, read-only root, bounded disk."""

from collections.abc import Sequence
from datetime import timedelta

from agentsessions.api.base import Json
from agentsessions.api.config import Gateway
from agentsessions.api.host import PORT
from agentsessions.api.names import (
    ANNOTATION_TEMPLATE_HASH,
    CONTAINER,
    LABEL_ATTEMPT,
    LABEL_NETWORK_POLICY,
    pod_name,
)
from agentsessions.api.session import AgentSession
from agentsessions.builders.contract import USER_ID
from agentsessions.builders.disruption import disruption_annotations, disruption_labels, told_late
from agentsessions.builders.environment import environment, own_grace
from agentsessions.builders.meta import child_metadata
from agentsessions.builders.resources import resource_requirements
from agentsessions.builders.volumes import mounts, volumes
from agentsessions.policies.nodeloss import tolerations
from agentsessions.policies.resolve import Settings


def session_pod(
    session: AgentSession,
    settings: Settings,
    attempt: int,
    *,
    secret: str,
    policy_label: str,
    deadline: timedelta | None,
    gateway: Gateway,
    node_loss_seconds: int | None = None,
) -> Json:
    """Return the pod; `secret` is the attempt's Secret, `deadline` the time left to the session."""
    metadata = child_metadata(session, pod_name(session.metadata.name, session.metadata.uid, attempt))
    metadata["labels"] |= {LABEL_ATTEMPT: str(attempt), LABEL_NETWORK_POLICY: policy_label}
    metadata["labels"] |= disruption_labels(settings.disruption)
    metadata["annotations"] = {ANNOTATION_TEMPLATE_HASH: settings.hash} | disruption_annotations(settings.disruption)
    bound = None if deadline is None else max(1, int(deadline.total_seconds()))
    spec = isolation(settings) | placement(settings, node_loss_seconds)
    spec |= {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": settings.fields.termination_grace_period_seconds,
        "containers": [_container(settings, environment(session, settings, secret, gateway, bound), gateway)],
        "volumes": volumes(session, settings, secret),
    }
    if bound is not None:
        spec["activeDeadlineSeconds"] = bound
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _container(settings: Settings, variables: list[Json], gateway: Gateway) -> Json:
    """Return the agent's container; command and arguments are the image's own."""
    ports = [{"name": "http", "containerPort": PORT, "protocol": "TCP"}] if gateway.enabled else []
    return {
        "name": CONTAINER,
        "image": settings.fields.image,
        "imagePullPolicy": settings.fields.image_pull_policy,
        **({"ports": ports} if ports else {}),
        "env": variables,
        "resources": resource_requirements(settings.fields.resources),
        "volumeMounts": mounts(settings),
        "terminationMessagePolicy": "File",
        "securityContext": container_isolation(),
        **told_late(own_grace(settings)),
    }


def container_isolation() -> Json:
    """Return what keeps a container from gaining anything that it was not given."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }


def isolation(settings: Settings) -> Json:
    """Return what keeps the pod apart from its node and from the API server."""
    out: Json = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    security = settings.fields.security
    if security and security.runtime_class_name:
        out["runtimeClassName"] = security.runtime_class_name
    if security and security.host_users is not None:
        out["hostUsers"] = security.host_users
    return out


def placement(settings: Settings, node_loss_seconds: int | None = None) -> Json:
    """Return where the pod may run, when it is given up with its node, and what it needs to get its image."""
    fields = settings.fields
    wanted: Sequence[tuple[str, object]] = (
        ("nodeSelector", dict(sorted((fields.node_selector or {}).items()))),
        ("tolerations", tolerations([t.to_json() for t in fields.tolerations or []], node_loss_seconds)),
        ("priorityClassName", fields.priority_class_name),
        ("imagePullSecrets", [s.to_json() for s in fields.image_pull_secrets or []]),
    )
    return {key: value for key, value in wanted if value}
