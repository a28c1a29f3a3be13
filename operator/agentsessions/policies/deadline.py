"""The wall-clock bounds of a session (H50), and of the start of a pod: neither may take for ever."""

from datetime import datetime, timedelta

from agentsessions.policies.facts import PodFacts

GRACE = timedelta(seconds=60)
"""How long the node, which enforces the bound first, is given to report before the operator acts itself."""


LAST_SECONDS = 20
"""The most grace for a pod whose session is over. A container cannot tell such an end from a drain, after which
its turn may go on: less than an interrupted agent may take would end none any sooner that obeys at once."""


def remaining(start: datetime | None, seconds: int | None, now: datetime) -> timedelta | None:
    """Return the time left; None if there is no bound, the whole bound if nothing has started."""
    if seconds is None:
        return None
    return timedelta(seconds=seconds) - (now - start if start else timedelta())


def is_over(start: datetime | None, seconds: int | None, now: datetime) -> bool:
    """Return whether the bound has passed."""
    left = remaining(start, seconds, now)
    return left is not None and left <= timedelta()


def time_to_start(pod: PodFacts, seconds: int | None, now: datetime) -> timedelta | None:
    """Return how much longer a pod may take to start; None if there is no bound, or nothing to be bounded any more."""
    return None if pod.has_started or pod.deleting else remaining(pod.created, seconds, now)


def too_late(seconds: int, waits_for: str) -> str:
    """Return what to say of a pod that did not start in time; `waits_for` is the last that is known of why."""
    return f"The pod did not start within {seconds} seconds (`limits.startDeadlineSeconds`). {waits_for}"
