"""The wall-clock bound of a session (H50): no session may run for ever."""

from datetime import datetime, timedelta

GRACE = timedelta(seconds=60)
"""How long the node, which enforces the bound first, is given to report before the operator acts itself."""


def remaining(start: datetime | None, seconds: int | None, now: datetime) -> timedelta | None:
    """Return the time left; None if there is no bound, the whole bound if nothing has started."""
    if seconds is None:
        return None
    return timedelta(seconds=seconds) - (now - start if start else timedelta())


def is_over(start: datetime | None, seconds: int | None, now: datetime) -> bool:
    """Return whether the bound has passed."""
    left = remaining(start, seconds, now)
    return left is not None and left <= timedelta()
