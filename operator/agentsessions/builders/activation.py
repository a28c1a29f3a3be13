"""What a host is told of a session: who it is, how it is run, and how far its conversation goes; pure."""

from agentsessions.api.host import Activation, SessionLimits, SessionSettings
from agentsessions.api.pool import AgentPool
from agentsessions.api.session import AgentSession
from agentsessions.policies.resolve import Settings


def session_settings(settings: Settings, pool: AgentPool | None) -> SessionSettings:
    """Return how a session is run on its host; in a pool its memory is bounded by the pool, if by nothing else."""
    limits = settings.fields.limits
    return SessionSettings(
        agent=settings.agent,
        limits=SessionLimits(
            recycle_memory=(limits.recycle_memory if limits else None)
            or (pool.spec.per_session_memory if pool else None),
            recycle_age_seconds=limits.recycle_age_seconds if limits else None,
        ),
        content_logging=settings.fields.content_logging or "Omit",
    )


def activation(
    session: AgentSession, settings: Settings, pool: AgentPool | None, fork_from: str | None = None
) -> Activation:
    """Return the body by which a session is given to a host."""
    return Activation.model_validate(
        {
            "version": 1,
            "session_id": session.metadata.uid,
            "namespace": session.metadata.namespace,
            "name": session.metadata.name,
            "settings": session_settings(settings, pool),
            "usage": session.status.usage,
            "transcript": session.status.transcript,
            # Grows with every pod or host that is given the session.
            "epoch": session.status.wakes + session.status.restarts + 1,
            "on_missing_transcript": session.spec.on_missing_transcript,
            "on_interrupted_turn": session.spec.on_interrupted_turn,
            "fork_from": fork_from,
        }
    )
