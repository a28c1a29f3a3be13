"""Kubernetes events about a session or a pool: on a change of state or a failed attempt, never on a normal pass."""

from datetime import UTC, datetime

from agentsessions.api.base import API_VERSION, Json
from agentsessions.api.names import CONTROLLER, digest
from agentsessions.api.pool import AgentPool
from agentsessions.api.session import AgentSession

MAX_NOTE = 1024
"""Bytes, not characters, which the API server would refuse."""


def event(
    subject: AgentSession | AgentPool, *, kind: str, reason: str, action: str, note: str, now: datetime, reporter: str
) -> Json:
    """Return an events.k8s.io/v1 Event about the session or pool."""
    meta = subject.metadata
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{meta.name}.{digest([meta.uid, reason, stamp], 16)}", "namespace": meta.namespace},
        "eventTime": stamp,
        "type": kind,
        "reason": reason,
        "action": action,
        "note": note.encode(errors="replace")[:MAX_NOTE].decode(errors="ignore"),
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": type(subject).__name__,
            "namespace": meta.namespace,
            "name": meta.name,
            "uid": meta.uid,
        },
        "reportingController": CONTROLLER,
        "reportingInstance": reporter[:128],
    }
