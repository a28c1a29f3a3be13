"""The hosts of a pool: a StatefulSet, since its pods have names that stay, and volumes that stay with the names."""

from agentsessions.api.base import Json
from agentsessions.api.config import OperatorConfig
from agentsessions.api.names import ANNOTATION_TEMPLATE_HASH, LABEL_NETWORK_POLICY, digest
from agentsessions.api.pool import AgentPool
from agentsessions.builders.disruption import disruption_annotations
from agentsessions.builders.hosting import host_container, host_volumes
from agentsessions.builders.pod import isolation, placement
from agentsessions.builders.pool.meta import child_metadata, pool_labels, selector, stem
from agentsessions.policies.capacity import HostSize
from agentsessions.policies.resolve import Settings

GRACE_RESERVE_SECONDS = 30
"""Kept beyond `drainSeconds`: for interrupted turns to wind up and for transcripts to be written."""

_VOLUME = "data"


def hosts(
    pool: AgentPool,
    settings: Settings,
    size: HostSize,
    replicas: int,
    secret: str,
    policy_label: str,
    config: OperatorConfig,
) -> Json:
    """Return the StatefulSet."""
    spec: Json = {
        "serviceName": stem(pool),
        "replicas": replicas,
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": _pace(pool)},
        "selector": {"matchLabels": selector(pool)},
        "template": _template(pool, settings, size, secret, policy_label, config),
    }
    if settings.storage is not None:
        spec["volumeClaimTemplates"] = [_claim(settings)]
        # Conversations outlive a smaller pool; with the pool itself they go, as a session's volume goes with it.
        spec["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Delete", "whenScaled": "Retain"}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": child_metadata(pool, stem(pool)), "spec": spec}


def _template(
    pool: AgentPool, settings: Settings, size: HostSize, secret: str, policy_label: str, config: OperatorConfig
) -> Json:
    """Return the template of one host."""
    spec = isolation(settings) | placement(settings, config.node_loss_seconds)
    spec |= {
        "terminationGracePeriodSeconds": _grace(pool),
        "containers": [host_container(settings, config, memory=size.memory, grace=_grace(pool), proves=True)],
        "volumes": host_volumes(settings, secret),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector(pool)},
            }
        ],
    }
    labels = pool_labels(pool) | {LABEL_NETWORK_POLICY: policy_label}
    marks = disruption_annotations(settings.disruption)
    marks |= {ANNOTATION_TEMPLATE_HASH: digest([labels, marks, spec])}
    return {"metadata": {"labels": labels, "annotations": marks}, "spec": spec}


def _pace(pool: AgentPool) -> Json:
    """Return how many hosts may be missing; one is what holds unsaid, also where the field is not known."""
    most = pool.spec.rolling.max_unavailable
    pace: Json = {"partition": 0}
    if most is None or most == "1":
        return pace
    return pace | {"maxUnavailable": int(most) if most.isdecimal() else most}


def _grace(pool: AgentPool) -> int:
    return pool.spec.drain_seconds + GRACE_RESERVE_SECONDS


def _claim(settings: Settings) -> Json:
    """Return the claim of each host, for all of its sessions."""
    spec: Json = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": settings.storage}}}
    workspace = settings.fields.workspace
    if workspace and workspace.storage_class_name:
        spec["storageClassName"] = workspace.storage_class_name
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": _VOLUME}, "spec": spec}
