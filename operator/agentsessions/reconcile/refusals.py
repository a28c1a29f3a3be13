"""What the API server refuses of sessions whose pod is there and goes on: told once, tried again with pauses.

Kept in memory only: it decides about nothing, and a new process tells of what is still refused once more.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agentsessions.api.conditions import Reason
from agentsessions.reconcile.model import Notice

_FIRST = timedelta(seconds=10)
_LAST = timedelta(minutes=5)


@dataclass
class Refusals:
    """Since when something is refused, by session."""

    _since: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def noted(self, key: tuple[str, str], words: str, now: datetime) -> tuple[tuple[Notice, ...], timedelta | None]:
        """Take note of what a pass was refused, if anything; return the event if it is new, and when to try again."""
        if not words:
            self.forget(key)
            return (), None
        new = key not in self._since
        since = self._since.setdefault(key, now)
        text = f"The API server refuses a change beside the session's pod, which goes on without it: {words}"
        notices = (Notice("Warning", Reason.CHANGE_REFUSED, "Guard", text),) if new else ()
        return notices, patience(now - since)

    def forget(self, key: tuple[str, str]) -> None:
        """Forget a session of which nothing is refused, or which is gone."""
        self._since.pop(key, None)


def patience(lasted: timedelta) -> timedelta:
    """Return how long to wait for what may be mended any time: as long again as it has lasted, within bounds."""
    return min(max(lasted, _FIRST), _LAST)
