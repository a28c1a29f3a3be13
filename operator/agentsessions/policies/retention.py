"""How long a session is kept that is finished, or that nobody talks to."""

from datetime import datetime, timedelta

from agentsessions.api.session import AgentSession, AgentSessionSpec


def time_to_live(spec: AgentSessionSpec, completed: datetime, now: datetime) -> timedelta | None:
    """Return how long the session is still kept: None for ever, zero or less when its time is up."""
    if spec.ttl_seconds_after_finished is None:
        return None
    return completed + timedelta(seconds=spec.ttl_seconds_after_finished) - now


def time_asleep(session: AgentSession, ttl: int | None, now: datetime) -> timedelta | None:
    """Return how long a session that sleeps is still kept, in the same way; one that never woke, since it was made.

    `ttl` is in seconds; with 0, as with None, it is kept for ever.
    """
    if not ttl:
        return None
    since = session.status.suspend_time or session.metadata.creation_timestamp
    return since + timedelta(seconds=ttl) - now
