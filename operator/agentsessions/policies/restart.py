"""Whether, and when, another attempt follows one that ended without success."""

from datetime import datetime, timedelta

from agentsessions.api.config import Backoff
from agentsessions.api.names import digest
from agentsessions.api.session import AgentSessionSpec
from agentsessions.api.status import Termination
from agentsessions.policies.outcome import Verdict

CALM = timedelta(minutes=10)
"""After so long without an end, the next one is the first again; the kubelet forgets crashes after as long."""
_MOST_DOUBLINGS = 16
LONGEST_PAUSE = timedelta(minutes=5)
"""Of a session that was woken in vain again and again."""


def may_retry(spec: AgentSessionSpec, verdict: Verdict, failures: int) -> bool:
    """Return whether another attempt follows; `failures` includes this one if it counts."""
    if verdict.succeeded or not verdict.retryable or spec.restart_policy == "Never":
        return False
    return not verdict.counts or failures <= spec.backoff_limit


def pause(backoff: Backoff, uid: str, *, failures: int, disruptions: int) -> timedelta:
    """Return how long a session waits before its next attempt."""
    nominal = delay(backoff, failures=failures, disruptions=disruptions)
    return jittered(nominal, f"{uid} {failures} {disruptions}")


def is_calm(last: Termination | None, moment: datetime) -> bool:
    """Return whether the end before is so long ago that the one at this moment is the first again."""
    return last is None or last.finished_at is None or moment - last.finished_at >= CALM


def jittered(nominal: timedelta, seed: str) -> timedelta:
    """Return a pause that is up to a quarter shorter: sessions that failed together are not tried again together.

    How much is the seed's: whoever asks again, also after a restart, gets the same answer.
    """
    share = int(digest(seed, 8), 16) / 16**8
    return nominal * (1 - share / 4)


def doubled(first: timedelta, times: int, most: timedelta) -> timedelta:
    """Return `first` doubled so many times, `most` at most."""
    return min(first * (1 << min(times, _MOST_DOUBLINGS)), most)


def delay(backoff: Backoff, *, failures: int, disruptions: int) -> timedelta:
    """Return how long to wait without jitter: a first disruption costs nothing, the rest double up to the cap."""
    steps = failures + max(0, disruptions - 1)
    if steps == 0:
        return timedelta()
    return doubled(timedelta(seconds=backoff.base_seconds), steps - 1, timedelta(seconds=backoff.max_seconds))


def is_paused(until: datetime, now: datetime) -> bool:
    """Return whether what may be tried again from `until` on has to wait.

    By a clock that was set back since, that may look further away than any pause is: then nothing has to wait.
    """
    return now < until <= now + LONGEST_PAUSE
