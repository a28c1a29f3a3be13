"""The hosts of a pool: a StatefulSet, since its pods have names that stay, and volumes that stay with the names."""

from agentsessions.api.base import Json
from agentsessions.api.config import OperatorConfig
from agentsessions.api.host import PORT
from agentsessions.api.names import ANNOTATION_TEMPLATE_HASH, CONTAINER, LABEL_NETWORK_POLICY, digest
from agentsessions.api.pool import AgentPool
from agentsessions.builders.contract import HOME_DIR, PLACEHOLDER_KEY, SESSION_DIR, STATE_DIR, TMP_DIR
from agentsessions.builders.environment import pod_variables, template_variables
from agentsessions.builders.pod import container_isolation, isolation, placement
from agentsessions.builders.pool.meta import child_metadata, pool_labels, selector, stem
from agentsessions.builders.resources import resource_requirements
from agentsessions.builders.volumes import local_volume, mounts
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
        "updateStrategy": {"type": "RollingUpdate"},
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
    spec = isolation(settings) | placement(settings)
    spec |= {
        "terminationGracePeriodSeconds": _grace(pool),
        "containers": [_container(pool, settings, size, config)],
        "volumes": _volumes(settings, secret),
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
    marks = {ANNOTATION_TEMPLATE_HASH: digest([labels, spec])}
    return {"metadata": {"labels": labels, "annotations": marks}, "spec": spec}


def _grace(pool: AgentPool) -> int:
    return pool.spec.drain_seconds + GRACE_RESERVE_SECONDS


def _container(pool: AgentPool, settings: Settings, size: HostSize, config: OperatorConfig) -> Json:
    """Return the host's container."""
    fields = settings.fields
    resources = resource_requirements(fields.resources)
    for kind in ("limits", "requests"):
        resources[kind]["memory"] = size.memory
    return {
        "name": CONTAINER,
        "image": fields.image,
        "imagePullPolicy": fields.image_pull_policy,
        "args": ["serve"],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "env": _environment(pool, settings, config),
        "resources": resources,
        "volumeMounts": mounts(settings),
        "startupProbe": _probe("/ready", failures=60, seconds=1),
        "readinessProbe": _probe("/ready", failures=1, seconds=5),
        "livenessProbe": _probe("/health", failures=6, seconds=10),
        "securityContext": container_isolation(),
    }


def _probe(path: str, *, failures: int, seconds: int) -> Json:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": seconds,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _environment(pool: AgentPool, settings: Settings, config: OperatorConfig) -> list[Json]:
    """Return the host's variables; the contract's cannot be overridden by the template."""
    fixed = {
        "AGENTSESSIONS_SESSION_DIR": SESSION_DIR,
        "AGENTSESSIONS_STATE_DIR": STATE_DIR,
        "AGENTSESSIONS_PUBLIC_KEYS": config.gateway.public_keys,
        "AGENTSESSIONS_GRACE_SECONDS": str(_grace(pool)),
        "HOME": HOME_DIR,
        "TMPDIR": TMP_DIR,
        "CLAUDE_CONFIG_DIR": f"{STATE_DIR}/claude",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "ANTHROPIC_API_KEY": PLACEHOLDER_KEY,
    }
    endpoint = settings.fields.model_endpoint
    if endpoint and endpoint.base_url:
        fixed["ANTHROPIC_BASE_URL"] = endpoint.base_url
    own = pod_variables()
    taken = fixed.keys() | {var["name"] for var in own}
    return [*template_variables(fixed, settings, taken), *own]


def _volumes(settings: Settings, secret: str) -> list[Json]:
    """Return the volumes; the claim, if there is one, comes from the StatefulSet."""
    out: list[Json] = [{"name": "session", "secret": {"secretName": secret, "defaultMode": 0o440}}]
    names = ["home", "tmp"] + (["workspace", "state"] if settings.storage is None else [])
    return out + [local_volume(name, settings) for name in names]


def _claim(settings: Settings) -> Json:
    """Return the claim of each host, for all of its sessions."""
    spec: Json = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": settings.storage}}}
    workspace = settings.fields.workspace
    if workspace and workspace.storage_class_name:
        spec["storageClassName"] = workspace.storage_class_name
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": _VOLUME}, "spec": spec}
