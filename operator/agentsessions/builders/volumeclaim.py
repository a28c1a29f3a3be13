"""The PersistentVolumeClaim of a session whose workspace outlives its pods."""

from agentsessions.api.base import Json
from agentsessions.api.names import child_name
from agentsessions.api.session import AgentSession
from agentsessions.builders.meta import child_metadata
from agentsessions.policies.resolve import Settings


def claim_name(session: AgentSession) -> str:
    """Return the name of the session's claim."""
    return child_name(session.metadata.name, session.metadata.uid)


def volume_claim(session: AgentSession, settings: Settings) -> Json | None:
    """Return the claim, or None if the workspace is a local directory."""
    if settings.storage is None:
        return None
    spec: Json = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": settings.storage}},
    }
    workspace = settings.fields.workspace
    if workspace and workspace.storage_class_name:
        spec["storageClassName"] = workspace.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": child_metadata(session, claim_name(session)),
        "spec": spec,
    }
