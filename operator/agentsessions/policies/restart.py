"""Whether, and when, another attempt follows one that ended without success."""

from datetime import timedelta

from agentsessions.api.config import Backoff
from agentsessions.api.session import AgentSessionSpec
from agentsessions.policies.outcome import Verdict

_MOST_DOUBLINGS = 16


def may_retry(spec: AgentSessionSpec, verdict: Verdict, failures: int) -> bool:
    """Return whether another attempt follows; `failures` includes this one if it counts."""
    if verdict.succeeded or not verdict.retryable or spec.restart_policy == "Never":
        return False
    return not verdict.counts or failures <= spec.backoff_limit


def delay(backoff: Backoff, *, failures: int, disruptions: int) -> timedelta:
    """Return how long to wait: a first disruption costs nothing, the rest double from the base up to the cap."""
    steps = failures + max(0, disruptions - 1)
    if steps == 0:
        return timedelta()
    seconds = backoff.base_seconds * 2 ** min(steps - 1, _MOST_DOUBLINGS)
    return timedelta(seconds=min(seconds, backoff.max_seconds))
