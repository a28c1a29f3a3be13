"""Who has a pod, who starts one and who waits for one, as passes have read and written it; in memory only.

Filled from a list before the first pass, and set right by every one. It decides about nothing but a session's turn: to
be out of date lets one too many start, or has one wait until its next look; it is no reason to stop or delete anything.
"""

import time
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import ValidationError

from agentsessions import metrics
from agentsessions.api.config import Admission as Rules
from agentsessions.api.session import AgentSession
from agentsessions.api.status import AgentSessionStatus, Queue
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import Refused
from agentsessions.kube.paths import NAMESPACES, SESSIONS
from agentsessions.policies.queueing import (
    STARTING_FOR,
    Tenants,
    Turns,
    Used,
    Waiter,
    obstacle,
    told,
    turns,
)
from agentsessions.reconcile.model import Need

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Held:
    """A session's pod, by name."""

    uid: str
    pod: str


@dataclass(slots=True)
class Taken:
    """A place that was given, and of whose pod no pass has told yet; `failed` counts the passes that could not.

    `made`: the pod is there all the same.
    """

    outcome: str
    waited: timedelta
    failed: int = 0
    made: bool = False


def _nobody(_: Key) -> None:
    """Call nobody, until there is a queue to call by."""


@dataclass
class Admission:
    """Gives sessions their turns. `call` has a session looked at whose turn it is; `clock` is in monotonic seconds."""

    rules: Rules = field(default_factory=Rules)
    call: Callable[[Key], None] = _nobody
    clock: Callable[[], float] = time.monotonic
    _held: dict[Key, Held] = field(default_factory=dict)
    _running: Counter[str] = field(default_factory=Counter)
    _starting: dict[Key, float] = field(default_factory=dict)
    _taken: dict[Key, Taken] = field(default_factory=dict)
    _waiters: dict[Key, Waiter] = field(default_factory=dict)
    _lines: dict[str, list[Waiter]] = field(default_factory=dict)
    _told: dict[Key, float] = field(default_factory=dict)
    _tenants: Tenants = field(default_factory=dict)
    _turns: Turns | None = None
    _called: frozenset[Key] = frozenset()

    async def fill(self, kube: Kube, namespaces: Sequence[str]) -> None:
        """Take note of all sessions that there are: passes may begin in any order. Raises KubeError."""
        with suppress(Refused):  # told again and again by the chore that does the same; sessions do not wait for it
            await self.learn_tenants(kube)
        for namespace in namespaces or (None,):
            for body in await kube.list(SESSIONS, namespace):
                try:
                    session = AgentSession.model_validate(body)
                except ValidationError:
                    continue  # its pass says so; it starts no pod
                self._note(session, session.status)
        self._decide()

    async def learn_tenants(self, kube: Kube) -> None:
        """Read which namespaces belong to which tenant, where that is asked for. Raises KubeError."""
        label = self.rules.tenant_label
        if not label:
            return
        found = await kube.list(NAMESPACES, metadata_only=True, labelSelector=label)
        tenants = {body["metadata"]["name"]: body["metadata"]["labels"][label] for body in found}
        if tenants != self._tenants:
            self._tenants, self._turns = tenants, None
            self._decide()

    async def tend(self, kube: Kube) -> None:
        """Do what nobody's pass does: give away the places of those that take too long to start, and learn tenants.

        Raises KubeError.
        """
        if self._late():
            self._decide()
        await self.learn_tenants(kube)

    def turn(self, session: AgentSession, need: Need, now: datetime) -> Queue | None:
        """Return None if the session may start its pod, which is counted from now on; else where it stands in line."""
        key, uid, queue = session.key, session.metadata.uid, session.status.queue
        if self._held.get(key) == Held(uid, need.pod):
            return None  # a pass that was cut short had its turn
        waiter = Waiter(key, uid, need.priority, queue.since if queue else now)
        self._enter(waiter)
        found = self._decide(but=key)
        if key not in found.keys:
            return self._where(waiter, queue, found)
        self._leave(key)
        self._turns = found  # to take a place that was given out changes nothing for the others
        self._hold(key, Held(uid, need.pod), starts=True)
        self._taken[key] = Taken("queued" if queue else "at-once", now - waiter.since)
        return None

    def read(self, session: AgentSession, status: AgentSessionStatus) -> None:
        """Take note of a session as a pass has left it, and call those whose turn it is by that."""
        self._note(session, status)
        self._decide()

    def stand_aside(self, key: Key) -> None:
        """Let others go first while passes over a session fail; the next one that does not puts it back into line.

        A place that it was given is kept once: a request that failed may have made the pod, and the next pass finds it.
        """
        self._leave(key)
        taken = self._taken.get(key)
        if taken is not None and not taken.made:
            taken.failed += 1
            if taken.failed > 1:
                self._release(key)
        self._decide()

    def made(self, key: Key, pod_uid: str | None) -> None:
        """Take note that the pod of a place that was given is there: it is kept, however often the rest fails."""
        if pod_uid and key in self._taken:
            self._taken[key].made = True

    def drop(self, key: Key, uid: str | None = None) -> None:
        """Forget a session that is gone; its namesake, which has another uid, is another session."""
        known = self._held.get(key) or self._waiters.get(key)
        if known is not None and uid in (None, known.uid):
            self._forget(key)
            self._decide()

    def _note(self, session: AgentSession, status: AgentSessionStatus) -> None:
        """Put a session where its status says that it is."""
        key, uid, queue = session.key, session.metadata.uid, status.queue
        over = session.metadata.deletion_timestamp is not None or status.completion_time is not None
        if over or not session.has_own_pod or (queue is None and not _has_pod(status)):
            self._forget(key)
        elif queue is not None:
            self._enter(Waiter(key, uid, queue.priority, queue.since))
        elif status.host is not None:
            self._leave(key)
            self._hold(key, Held(uid, status.host.pod), starts=_starts(session, status))
            self._count(self._taken.pop(key, None))

    def _count(self, taken: Taken | None) -> None:
        """Count a place that was given, now that a pod came of it."""
        if taken is not None:
            metrics.admitted.labels(taken.outcome).inc()
            metrics.queue_seconds.observe(taken.waited.total_seconds())

    def _enter(self, waiter: Waiter) -> None:
        """Have a session wait; it holds nothing meanwhile."""
        key = waiter.key
        if self._waiters.get(key) == waiter:
            return
        self._leave(key)
        self._release(key)
        self._turns = None
        self._waiters[key] = waiter
        insort(self._lines.setdefault(waiter.namespace, []), waiter, key=lambda one: one.rank)
        self._measure(waiter.namespace)

    def _leave(self, key: Key) -> None:
        """Take a session out of the line."""
        waiter = self._waiters.pop(key, None)
        if waiter is None:
            return
        self._turns = None
        line = self._lines[waiter.namespace]
        del line[_index(line, waiter)]
        self._measure(waiter.namespace)

    def _hold(self, key: Key, held: Held, *, starts: bool) -> None:
        """Count a session's pod, and how it stands."""
        if self._held.get(key) != held:
            self._release(key)
            self._held[key] = held
            self._running[key[0]] += 1
            if starts:
                self._starting[key] = self.clock()
        elif not starts and self._starting.pop(key, None) is not None:
            self._turns = None

    def _release(self, key: Key) -> None:
        """Count a session's pod no longer."""
        self._taken.pop(key, None)
        if self._held.pop(key, None) is not None:
            self._turns = None
            self._running[key[0]] -= 1
            self._starting.pop(key, None)

    def _forget(self, key: Key) -> None:
        """Forget a session."""
        self._leave(key)
        self._release(key)
        self._told.pop(key, None)

    def _late(self) -> list[Key]:
        """Return who has been starting for so long that others need not wait for it."""
        old = self.clock() - STARTING_FOR.total_seconds()
        return [key for key, since in self._starting.items() if since <= old]

    def _decide(self, but: Key | None = None) -> Turns:
        """Return whose turn it is, and call them, but for the one that asks."""
        for key in self._late():
            del self._starting[key]
            self._turns = None
        if self._turns is None:
            used = Used(self._running, Counter(key[0] for key in self._starting))
            self._turns = turns(self._lines, used, self.rules, self._tenants)
            for key in self._turns.keys:
                if key not in self._called and key != but:
                    self.call(key)
            self._called = frozenset(self._turns.keys)
        return self._turns

    def _where(self, waiter: Waiter, before: Queue | None, found: Turns) -> Queue:
        """Return what to say of a session that waits."""
        namespace, key, now = waiter.namespace, waiter.key, self.clock()
        position = _index(self._lines[namespace], waiter) + 1
        reason = obstacle(namespace, found.used, self.rules, self._tenants)
        fresh = Queue(position=position, priority=waiter.priority, reason=reason, since=waiter.since)
        said = told(before, fresh, timedelta(seconds=now - self._told.get(key, now)))
        if said is fresh or key not in self._told:
            self._told[key] = now
        return said

    def _measure(self, namespace: str) -> None:
        """Say how long a line is, and since when its oldest waits: that is looked up when somebody asks for it."""
        line = self._lines[namespace]
        metrics.queue_sessions.labels(namespace).set(len(line))
        metrics.queue_oldest.labels(namespace).set_function(
            lambda: min((waiter.since.timestamp() for waiter in line), default=0)
        )


def _index(line: Sequence[Waiter], waiter: Waiter) -> int:
    """Return where a waiter is in its line."""
    return bisect_left(line, waiter.rank, key=lambda one: one.rank)


def _has_pod(status: AgentSessionStatus) -> bool:
    """Return whether the session has a pod that goes on; the end of the one that status names may be told already."""
    last, host = status.last_termination, status.host
    return host is not None and (last is None or last.pod != host.pod or bool(last.in_place))


def _starts(session: AgentSession, status: AgentSessionStatus) -> bool:
    """Return whether the session's pod is on its way: it does not run, and waits for nobody to mend anything.

    One that lasts has its host's node written down when it first runs in a pod: after that, nothing starts there.
    """
    ran = session.lasts and status.host is not None and status.host.node is not None
    return not ran and not status.is_true("Ready") and not status.is_true("Stalled")
