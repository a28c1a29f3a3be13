"""The Secret that carries the prompt and the agent's options into the pod: never argv, never the pod's spec."""

import base64
import json

from agentsessions.api.base import Json
from agentsessions.api.names import digest, pod_name
from agentsessions.api.session import AgentSession
from agentsessions.builders.contract import PROMPT_FILE, SESSION_FILE
from agentsessions.builders.meta import child_metadata
from agentsessions.policies.resolve import Settings


def session_document(session: AgentSession, settings: Settings, attempt: int) -> Json:
    """Return session.json of the image contract."""
    return {
        "version": 1,
        "sessionId": session.metadata.uid,
        "namespace": session.metadata.namespace,
        "name": session.metadata.name,
        "attempt": attempt,
        "agent": settings.agent.to_json(),
        "contentLogging": settings.fields.content_logging or "Omit",
    }


def session_secret(session: AgentSession, settings: Settings, attempt: int) -> Json:
    """Return the Secret of one attempt; immutable, and named by its content so that a change makes another."""
    document = json.dumps(session_document(session, settings, attempt), sort_keys=True)
    files = {SESSION_FILE: document}
    if session.spec.prompt is not None:
        files[PROMPT_FILE] = session.spec.prompt
    data = {name: base64.b64encode(text.encode()).decode() for name, text in files.items()}
    stem = pod_name(session.metadata.name, session.metadata.uid, attempt)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": child_metadata(session, f"{stem}-{digest(data)}"),
        "type": "agentsessions.dev/session",
        "immutable": True,
        "data": data,
    }
