"""The Secret that carries host.json: what a host is told of its pool, and how sessions without a resource are run."""

from agentsessions.api.base import Json
from agentsessions.api.config import OperatorConfig
from agentsessions.api.host import HostDocument
from agentsessions.api.names import digest
from agentsessions.api.pool import AgentPool
from agentsessions.builders.activation import session_settings
from agentsessions.builders.hosting import host_files
from agentsessions.builders.pool.meta import child_metadata, stem
from agentsessions.builders.storage import archive_settings, store_settings
from agentsessions.policies.capacity import HostSize
from agentsessions.policies.resolve import Settings


def host_document(pool: AgentPool, settings: Settings, size: HostSize) -> HostDocument:
    """Return host.json."""
    return HostDocument(
        version=1,
        namespace=pool.metadata.namespace,
        pool=pool.metadata.name,
        pool_uid=pool.metadata.uid,
        sessions_per_host=size.sessions,
        max_queued_messages=pool.spec.max_queued_messages,
        implicit=session_settings(settings, pool) if pool.spec.implicit_sessions else None,
        store=store_settings(settings, pool.metadata.namespace),
        archive=archive_settings(settings, pool.metadata.namespace),
    )


def host_secret(pool: AgentPool, settings: Settings, size: HostSize, config: OperatorConfig) -> Json:
    """Return the Secret; immutable, and named by its content so that a change rolls the hosts."""
    data = host_files(host_document(pool, settings, size), settings, config)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": child_metadata(pool, f"{stem(pool)}-{digest(data)}"),
        "type": "agentsessions.dev/host",
        "immutable": True,
        "data": data,
    }
