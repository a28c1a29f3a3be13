"""The pod of one Hybrid session while it is awake: a session host for it alone; pure."""

from agentsessions.api.base import Json
from agentsessions.api.config import OperatorConfig
from agentsessions.api.host import HostDocument
from agentsessions.api.names import (
    ANNOTATION_IMAGE,
    ANNOTATION_TEMPLATE_HASH,
    LABEL_ATTEMPT,
    LABEL_HOST,
    LABEL_NETWORK_POLICY,
    child_name,
    digest,
    pod_name,
)
from agentsessions.api.session import AgentSession
from agentsessions.builders.disruption import disruption_annotations, disruption_labels
from agentsessions.builders.environment import own_grace
from agentsessions.builders.hosting import host_container, host_files, host_volumes
from agentsessions.builders.meta import child_metadata
from agentsessions.builders.pod import isolation, placement
from agentsessions.builders.storage import archive_settings, store_settings
from agentsessions.builders.volumeclaim import claim_name
from agentsessions.policies.resolve import Settings

MAX_QUEUED = 64
"""Messages that may wait: as many as two gateways hold for one session that wakes, by their defaults."""


def own_host_name(session: AgentSession, wake: int) -> str:
    """Return the name of the pod of one wake; being fixed, it makes a second pod for it impossible."""
    return pod_name(session.metadata.name, session.metadata.uid, wake)


def own_host_document(session: AgentSession, settings: Settings) -> HostDocument:
    """Return host.json of a pod for this session alone."""
    meta = session.metadata
    return HostDocument(
        version=1,
        namespace=meta.namespace,
        pool=meta.name,
        pool_uid=meta.uid,
        sessions_per_host=1,
        max_queued_messages=MAX_QUEUED,
        store=store_settings(settings, meta.namespace),
        archive=archive_settings(settings, meta.namespace),
    )


def own_host_secret(session: AgentSession, settings: Settings, config: OperatorConfig) -> Json:
    """Return the Secret with host.json; immutable, and named by its content so that a change makes another."""
    meta = session.metadata
    data = host_files(own_host_document(session, settings), settings, config)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": child_metadata(session, f"{child_name(meta.name, meta.uid)}-{digest(data)}"),
        "type": "agentsessions.dev/host",
        "immutable": True,
        "data": data,
    }


def own_host_pod(
    session: AgentSession, settings: Settings, wake: int, secret: str, policy_label: str, config: OperatorConfig
) -> Json:
    """Return the pod. Its container is started again where it is when it dies: the disk is still there then."""
    metadata = child_metadata(session, own_host_name(session, wake))
    metadata["labels"] |= {LABEL_ATTEMPT: str(wake), LABEL_HOST: "session", LABEL_NETWORK_POLICY: policy_label}
    metadata["labels"] |= disruption_labels(settings.disruption)
    metadata["annotations"] = {ANNOTATION_TEMPLATE_HASH: settings.hash, ANNOTATION_IMAGE: settings.fields.image or ""}
    metadata["annotations"] |= disruption_annotations(settings.disruption)
    grace = own_grace(settings)
    volumes = host_volumes(settings, secret)
    if settings.storage is not None:
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": claim_name(session)}})
    spec = isolation(settings) | placement(settings, config.node_loss_seconds)
    container = host_container(settings, config, memory=None, grace=grace, proves=_has_a_way_back(session, settings))
    spec |= {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": grace,
        "containers": [container],
        "volumes": volumes,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _has_a_way_back(session: AgentSession, settings: Settings) -> bool:
    """Return whether the image is another than the session has run in so far: it would go back if its CLI failed."""
    rollout = session.status.rollout
    return rollout is not None and rollout.current_image not in (None, settings.fields.image)
