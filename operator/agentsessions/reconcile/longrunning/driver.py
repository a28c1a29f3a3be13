"""Carries a LongRunning session through one pass: observe, decide, one call to its host at most, what came of it."""

import asyncio
import time
from dataclasses import dataclass, field, replace
from datetime import datetime

from agentsessions import logs, metrics
from agentsessions.api.config import OperatorConfig
from agentsessions.api.host import HostSession, Phase
from agentsessions.api.session import AgentSession
from agentsessions.hosts.client import HostAddress, HostClient
from agentsessions.hosts.errors import HostError, HostFull
from agentsessions.hosts.streams import HostStreams
from agentsessions.hosts.views import HostView
from agentsessions.kube.client import Kube
from agentsessions.policies.hosts import HostFacts
from agentsessions.reconcile.longrunning import answers
from agentsessions.reconcile.longrunning.figures import INTERVAL
from agentsessions.reconcile.longrunning.model import Around, Handover, Step
from agentsessions.reconcile.longrunning.observe import observe
from agentsessions.reconcile.longrunning.occupancy import Key, Occupancy, Seat
from agentsessions.reconcile.longrunning.plan import decide
from agentsessions.reconcile.model import Plan
from agentsessions.reconcile.queue import SessionQueue


@dataclass
class LongRunning:
    """What the passes over LongRunning sessions have in common. `queue` is set once there is one."""

    kube: Kube
    config: OperatorConfig
    client: HostClient
    streams: HostStreams
    occupancy: Occupancy = field(default_factory=Occupancy)
    queue: SessionQueue | None = None
    _written: dict[str, datetime] = field(default_factory=dict)
    _failed: dict[str, bool] = field(default_factory=dict)
    _due: set[Key] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Have the hosts' news bring their sessions here."""
        self.streams.on_session = self.on_news
        self.streams.on_host = self.on_host

    async def plan(self, session: AgentSession, now: datetime) -> Plan:
        """Return what is left to do for the session: a status to write, events, and when to look again."""
        self._due.discard(session.key)
        if session.metadata.deletion_timestamp is not None:
            return Plan(session.status)
        self.occupancy.read(session)
        written = self._written.get(session.metadata.uid)
        around = await observe(session, self.kube, self.streams, self.occupancy, written, now)
        step = decide(around, now, self.config)
        if step.handover is not None:
            step = await self._hand_over(around, step, step.handover, now)
        self._reserve(session, step)
        return Plan(step.status, notices=step.notices, requeue=step.requeue)

    def was_written(self, session: AgentSession, now: datetime) -> None:
        """Take note that a status was written; figures alone wait a while from now."""
        if session.spec.pattern == "LongRunning":
            self._written[session.metadata.uid] = now

    async def gone(self, key: Key, but: str = "") -> None:
        """Tell the hosts of the sessions of that name which are gone: all but the one with uid `but`."""
        for seat in self.occupancy.under(key):
            if seat.uid == but:
                continue
            self.occupancy.leave(seat.uid)
            self._written.pop(seat.uid, None)
            self._failed.pop(seat.uid, None)
            view = self.streams.host(seat.pod_uid)
            if view is not None:
                await self.release(view.address, seat.uid)
            self._make_room_known(seat)

    async def release(self, host: HostAddress, session_id: str, *, keep_files: bool = False) -> None:
        """Take a session from a host, as well as can be: what is left over is found later by its snapshot."""
        try:
            await self.client.delete(host, session_id, "keep" if keep_files else "delete")
            self.streams.unlearn(host.uid, session_id)
        except HostError as error:
            logs.warning("session not taken from its host", host=host.pod, session=session_id, error=error.slug)

    def on_news(self, view: HostView, told: HostSession) -> None:
        """A host told of a session: what may change a condition is seen to at once, figures when their time comes."""
        uid, key = str(told.session_id), (told.namespace, told.name)
        seat = self.occupancy.seat(uid)
        if self.queue is None or seat is None or seat.pod_uid != view.address.uid:
            return
        failed, here = told.phase is Phase.FAILED, view.session(uid) is not None
        if not here or self._failed.get(uid, False) != failed:
            self._failed[uid] = failed
            self.queue.add(key)
        elif key not in self._due:
            self._due.add(key)  # a timer of our own: the queue has one a key, and a pass may have set it to less
            asyncio.get_running_loop().call_later(INTERVAL.total_seconds(), self.queue.add, key)

    def on_host(self, view: HostView) -> None:
        """A host came, went, or drains: see to the sessions on it, and to those that have no host."""
        if self.queue is None:
            return
        for seat in self.occupancy.at(view.address.uid):
            self.queue.add(seat.key)

    def _make_room_known(self, left: Seat) -> None:
        """See to the sessions that wait for room in the pool that one has left."""
        for seat in self.occupancy.waiting(left.key[0], left.pool):
            if self.queue is not None:
                self.queue.add(seat.key)

    async def _hand_over(self, around: Around, step: Step, given: Handover, now: datetime) -> Step:
        """Give the session to its host and return what comes of it."""
        started, address = time.monotonic(), address_of(given.host)
        try:
            news = await self.client.activate(address, given.activation)
        except HostError as error:
            metrics.activations.labels(type(error).__name__).inc()
            return self._refused(around, given, error, now)
        metrics.activations.labels("accepted").inc()
        metrics.activation_seconds.observe(time.monotonic() - started)
        self.streams.learn(address.uid, news)
        return answers.accepted(around, step, given, news, now, self.config)

    def _refused(self, around: Around, given: Handover, error: HostError, now: datetime) -> Step:
        """Return what comes of a refusal; a host that is full is left alone for a while."""
        meta = around.session.metadata
        logs.info(
            "host did not take a session",
            namespace=meta.namespace,
            name=meta.name,
            host=given.host.name,
            error=error.slug,
        )
        if isinstance(error, HostFull):
            self.occupancy.refused(given.host.uid, now)
            around = replace(around, not_now=around.not_now | {given.host.uid})
        return answers.refused(around, given, error, now, self.config)

    def _reserve(self, session: AgentSession, step: Step) -> None:
        """Count the session where it is about to be written down: other workers place theirs meanwhile."""
        self.occupancy.read(session.model_copy(update={"status": step.status}))
        if step.placed:
            metrics.placements.labels(step.placed).inc()


def address_of(host: HostFacts) -> HostAddress:
    """Return where a host is called."""
    return HostAddress(host.name, host.uid, host.ip)
