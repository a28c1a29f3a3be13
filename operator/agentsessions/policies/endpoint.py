"""Where clients reach a session through the gateway; pure."""

from agentsessions.api.config import OperatorConfig
from agentsessions.api.session import AgentSession


def endpoint(session: AgentSession, config: OperatorConfig) -> str | None:
    """Return the session's address at the gateway, or None where there is no gateway."""
    if not config.gateway.enabled:
        return None
    path = f"/v1/namespaces/{session.metadata.namespace}/sessions/{session.metadata.name}"
    return config.gateway.url.rstrip("/") + path
