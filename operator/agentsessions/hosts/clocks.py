"""The clocks of hosts, as they tell them with every answer: a token has to be on time where it is read.

A host may say what it likes of its clock. All that this gets it are tokens for itself (`aud` is its pod), which it
could let in whenever it wants anyway. Whoever has come by its address gets one for another time, too: so nothing that
is further from the API server's clock than `_MOST_SECONDS` is believed, and no token is good later than that and the
minute of its life, with the half minute that hosts allow for.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from agentsessions.kube.clock import LearnedClock, stamp

_MOST_SECONDS = 900.0
_OFF_SECONDS = 5.0
"""A token that is off by less is on time: hosts allow for more, and a `Date` is a second wide."""
_REMEMBERED = 10_000


@dataclass
class HostClocks:
    """What time it is at each host, by its pod's uid; at one that has not answered yet it is that of `wall`.

    The control plane has the API server's time for that.
    """

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    _known: OrderedDict[str, LearnedClock] = field(default_factory=OrderedDict, repr=False)

    def now(self, pod_uid: str) -> float:
        """Return the time at a host, in seconds since 1970."""
        known = self._known.get(pod_uid)
        told = known.now() if known is not None else self.wall()
        return told if self._is_believed(told) else self.wall()

    def call(self, pod_uid: str) -> "Call":
        """Return a call that is about to be made."""
        return Call(self, pod_uid, self.now(pod_uid), self.steady())

    def learn(self, pod_uid: str, date: str | None, since: float) -> None:
        """Take note of the `Date` with which a host answered what was sent at `since` (monotonic)."""
        told = stamp(date)
        if told is None or not self._is_believed(told):
            return
        self._known.setdefault(pod_uid, LearnedClock(self.wall, self.steady)).learn(date, since)
        self._known.move_to_end(pod_uid)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _is_believed(self, told: float) -> bool:
        """Return whether a host may be taken at its word: now, too, where it was told long ago."""
        return abs(told - self.wall()) <= _MOST_SECONDS


@dataclass(frozen=True, slots=True)
class Call:
    """A call to a host. `supposed`: what time it was there, as far as we knew; `since`: by our monotonic clock."""

    clocks: HostClocks
    pod_uid: str
    supposed: float
    since: float

    def answered(self, date: str | None) -> bool:
        """Take note of the answer's `Date`; return whether what was sent was made for a time that it was not."""
        self.clocks.learn(self.pod_uid, date, self.since)
        supposed = self.supposed + self.clocks.steady() - self.since
        return abs(self.clocks.now(self.pod_uid) - supposed) > _OFF_SECONDS
