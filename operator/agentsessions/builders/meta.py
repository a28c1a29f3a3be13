"""Metadata that children share."""

from agentsessions.api.base import API_VERSION, Json
from agentsessions.api.names import session_labels
from agentsessions.api.session import AgentSession


def owner_reference(session: AgentSession) -> Json:
    """Return the reference by which the garbage collector removes a child together with its session."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AgentSession",
        "name": session.metadata.name,
        "uid": session.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def child_metadata(session: AgentSession, name: str) -> Json:
    """Return the metadata of a child of the session."""
    return {
        "name": name,
        "namespace": session.metadata.namespace,
        "labels": session_labels(session.metadata.name, session.metadata.uid),
        "ownerReferences": [owner_reference(session)],
    }
