"""What becomes of a finished session."""

from datetime import datetime, timedelta

from agentsessions.api.session import AgentSessionSpec


def time_to_live(spec: AgentSessionSpec, completed: datetime, now: datetime) -> timedelta | None:
    """Return how long the session is still kept: None for ever, zero or less when its time is up."""
    if spec.ttl_seconds_after_finished is None:
        return None
    return completed + timedelta(seconds=spec.ttl_seconds_after_finished) - now
