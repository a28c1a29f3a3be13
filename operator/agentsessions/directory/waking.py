"""Asks the operator to wake a session: one write for any number of requests that wait for it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agentsessions import logs
from agentsessions.api.names import GATEWAY_FIELD_MANAGER
from agentsessions.directory import metrics
from agentsessions.directory.world import SessionView
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import Conflict, NotFound
from agentsessions.kube.paths import SESSIONS

_AGAIN_SECONDS = 5.0
"""How long after asking it is asked again, should nothing have come of it."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Waker:
    """Writes `status.lastRequestTime` of sessions that sleep; the operator takes any value that it has not answered."""

    kube: Kube
    clock: Callable[[], datetime] = _now
    _asked: dict[str, tuple[str, float]] = field(default_factory=dict)

    async def wake(self, key: tuple[str, str], session: SessionView) -> None:
        """Ask for a session, unless that has been done. Raises KubeError."""
        if session.requested != session.answered:
            return  # another gateway asked, or we did: the operator has yet to see it
        known, when = self._asked.get(session.uid, ("", 0.0))
        if known == session.answered and time.monotonic() - when < _AGAIN_SECONDS:
            return
        self._asked[session.uid] = (session.answered, time.monotonic())
        try:
            await self._ask(key, session.uid)
        except (Conflict, NotFound):
            return  # another session bears the name by now, or none; the watch tells which
        except BaseException:
            self._asked.pop(session.uid, None)
            raise
        finally:
            self._trim()

    async def _ask(self, key: tuple[str, str], uid: str) -> None:
        now = self.clock()
        # Never without a fraction, which would be written in another way by whoever copies it.
        now = now.replace(microsecond=now.microsecond or 1)
        text = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
        patch = {"metadata": {"uid": uid}, "status": {"lastRequestTime": text}}
        await self.kube.merge(SESSIONS, *key, patch, manager=GATEWAY_FIELD_MANAGER, subresource="status")
        metrics.wakes.inc()
        logs.info("session woken", namespace=key[0], name=key[1], uid=uid)

    def _trim(self) -> None:
        """Forget what was asked long ago."""
        old = time.monotonic() - _AGAIN_SECONDS
        self._asked = {uid: one for uid, one in self._asked.items() if one[1] > old}
