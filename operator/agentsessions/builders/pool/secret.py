"""The Secret that carries host.json: what a host is told of its pool, and how sessions without a resource are run."""

import base64
import json

from agentsessions.api.base import Json
from agentsessions.api.host import HostDocument
from agentsessions.api.names import digest
from agentsessions.api.pool import AgentPool
from agentsessions.builders.activation import session_settings
from agentsessions.builders.pool.meta import child_metadata, stem
from agentsessions.policies.capacity import HostSize
from agentsessions.policies.resolve import Settings

HOST_FILE = "host.json"


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
    )


def host_secret(pool: AgentPool, settings: Settings, size: HostSize) -> Json:
    """Return the Secret; immutable, and named by its content so that a change rolls the hosts."""
    text = json.dumps(host_document(pool, settings, size).to_json(), sort_keys=True)
    data = {HOST_FILE: base64.b64encode(text.encode()).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": child_metadata(pool, f"{stem(pool)}-{digest(data)}"),
        "type": "agentsessions.dev/host",
        "immutable": True,
        "data": data,
    }
