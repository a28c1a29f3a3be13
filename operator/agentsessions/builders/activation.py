"""What a host is told of a session: who it is, how it is run, and how far its conversation goes; pure."""

from datetime import datetime, timedelta

from agentsessions.api.bounds import SessionLimits
from agentsessions.api.host import Activation, SessionSettings
from agentsessions.api.pool import AgentPool
from agentsessions.api.session import AgentSession
from agentsessions.api.template import Limits
from agentsessions.policies.resolve import Settings


def session_settings(settings: Settings, pool: AgentPool | None, *, created: datetime | None = None) -> SessionSettings:
    """Return how a session is run on its host. One without a resource was never `created`, and has no age."""
    return SessionSettings(
        agent=settings.agent,
        limits=session_limits(settings, pool, created=created),
        content_logging=settings.fields.content_logging or "Omit",
    )


def session_limits(settings: Settings, pool: AgentPool | None, *, created: datetime | None) -> SessionLimits:
    """Return a session's bounds; in a pool its memory is bounded by the pool, if by nothing else."""
    limits = settings.fields.limits or Limits()
    age = limits.max_age_seconds
    return SessionLimits(
        recycle_memory=limits.recycle_memory or (pool.spec.per_session_memory if pool else None),
        recycle_age_seconds=limits.recycle_age_seconds,
        turn_deadline_seconds=limits.turn_deadline_seconds,
        max_session_turns=limits.max_session_turns,
        not_after=created + timedelta(seconds=age) if created is not None and age is not None else None,
    )


def activation(
    session: AgentSession, settings: Settings, pool: AgentPool | None, fork_from: str | None = None
) -> Activation:
    """Return the body by which a session is given to a host."""
    store = settings.fields.session_store
    return Activation.model_validate(
        {
            "version": 1,
            "session_id": session.metadata.uid,
            "namespace": session.metadata.namespace,
            "name": session.metadata.name,
            "settings": session_settings(settings, pool, created=session.metadata.creation_timestamp),
            "usage": session.status.usage,
            "transcript": session.status.transcript,
            # Grows with every pod or host that is given the session.
            "epoch": session.status.wakes + session.status.restarts + 1,
            "on_missing_transcript": session.spec.on_missing_transcript,
            "on_interrupted_turn": session.spec.on_interrupted_turn,
            "on_delete": store.on_delete if store is not None else "Retain",
            "fork_from": fork_from,
        }
    )
