"""Names and metadata that a pool's children share."""

from agentsessions.api.base import API_VERSION, Json
from agentsessions.api.names import LABEL_POOL, LABEL_POOL_UID, common_labels, digest
from agentsessions.api.pool import AgentPool

COMPONENT = "host"
_SLUG_LENGTH = 40


def pool_labels(pool: AgentPool) -> dict[str, str]:
    """Return the labels that tie a child to its pool."""
    return common_labels(COMPONENT) | selector(pool)


def selector(pool: AgentPool) -> dict[str, str]:
    """Return the labels by which the pool's hosts are found; they never change."""
    return {LABEL_POOL: pool.metadata.name, LABEL_POOL_UID: pool.metadata.uid}


def stem(pool: AgentPool) -> str:
    """Return the name of the pool's children: readable, and never that of an Ephemeral session's or another pool's.

    A Service's name is a label that begins with a letter, and Kubernetes puts a StatefulSet's, with a dash and ten
    digits, into a label of its pods (https://github.com/kubernetes/kubernetes/issues/64023): 52 characters at most.
    """
    slug = pool.metadata.name[:_SLUG_LENGTH].replace(".", "-").strip("-")
    prefix = "" if slug[0].isalpha() else "pool-"
    return f"{prefix}{slug}-{digest(pool.metadata.uid, 6)}"


def child_metadata(pool: AgentPool, name: str) -> Json:
    """Return the metadata of a child of the pool; it goes when the pool goes."""
    owner = {
        "apiVersion": API_VERSION,
        "kind": "AgentPool",
        "name": pool.metadata.name,
        "uid": pool.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "name": name,
        "namespace": pool.metadata.namespace,
        "labels": pool_labels(pool),
        "ownerReferences": [owner],
    }
