"""Which sessions are being moved to another image, so that they are not all put away at the same time; in memory only.

It decides about nothing but turns: a new operator begins with none, and may have that many more moved for a minute.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from agentsessions import metrics
from agentsessions.api.config import Rollout

Key = tuple[str, str]
HELD_SECONDS = 60.0
"""So long holds a session its place if nobody hears how its move went."""


def _nobody(_: Key) -> None:
    """Call nobody, until there is a queue to call by."""


@dataclass
class Moves:
    """Gives sessions their turns. `call` has a session looked at whose turn it may be; `clock` is in seconds."""

    rules: Rollout = field(default_factory=Rollout)
    call: Callable[[Key], None] = _nobody
    clock: Callable[[], float] = time.monotonic
    _until: dict[Key, float] = field(default_factory=dict)
    _waiting: dict[Key, None] = field(default_factory=dict)
    _moving: set[Key] = field(default_factory=set)

    def turn(self, key: Key) -> bool:
        """Return whether the session may be put away now; if not, it is called when there is a place.

        One whose time is over goes behind those that wait.
        """
        now = self.clock()
        if now < self._until.get(key, now):
            return True
        others_first = self._pass_on(key)
        if others_first or sum(until > now for until in self._until.values()) >= self.rules.max_unavailable:
            self._waiting[key] = None
            return False
        self._waiting.pop(key, None)
        self._moving.add(key)
        self._until[key] = now + HELD_SECONDS
        return True

    def done(self, key: Key, *, moved: bool = False) -> None:
        """Take note that a session wants no place any more: it has `moved`, is busy, could not be put away, is gone."""
        self._waiting.pop(key, None)
        if moved and key in self._moving:
            metrics.session_rollouts.labels("moved").inc()
        self._moving.discard(key)
        self._pass_on(key)

    def _pass_on(self, key: Key) -> bool:
        """Give the place of a session to the one that has waited longest; return whether there was a place and one."""
        if self._until.pop(key, None) is None or not self._waiting:
            return False
        first = next(iter(self._waiting))
        del self._waiting[first]
        self.call(first)
        return True
