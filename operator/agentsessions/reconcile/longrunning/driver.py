"""Carries a session that lasts through one pass: observe, decide, one call to its host at most, what came of it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from agentsessions import logs, metrics
from agentsessions.api.config import OperatorConfig
from agentsessions.api.host import HostSession, Phase
from agentsessions.api.names import FINALIZER
from agentsessions.api.session import AgentSession
from agentsessions.hosts.client import HostAddress, HostClient
from agentsessions.hosts.embeddedstore import with_store_url
from agentsessions.hosts.errors import Busy, HostError, HostFull
from agentsessions.hosts.streams import HostStreams
from agentsessions.hosts.views import HostView
from agentsessions.kube.client import Kube
from agentsessions.policies.hosts import HostFacts
from agentsessions.reconcile.admission import Admission
from agentsessions.reconcile.apply import apply
from agentsessions.reconcile.longrunning import answers, forgetting, ownpod
from agentsessions.reconcile.longrunning.carriedout import acted, makes
from agentsessions.reconcile.longrunning.counting import Tally
from agentsessions.reconcile.longrunning.figures import INTERVAL
from agentsessions.reconcile.longrunning.model import LOOK_AGAIN, Around, Handover, PutAway, Step
from agentsessions.reconcile.longrunning.observe import cleanup, observe
from agentsessions.reconcile.longrunning.occupancy import Key, Occupancy, Seat
from agentsessions.reconcile.longrunning.plan import decide
from agentsessions.reconcile.longrunning.pulls import Pulls
from agentsessions.reconcile.longrunning.restarts import noted
from agentsessions.reconcile.model import Plan
from agentsessions.reconcile.moves import Moves
from agentsessions.reconcile.observe import DeletedPods
from agentsessions.reconcile.queue import SessionQueue

_SOME_TIME = timedelta(minutes=5)
"""After so long a session asks again whether it may move, if nobody has called it."""


@dataclass
class LongRunning:
    """What the passes over LongRunning and Hybrid sessions have in common. `queue` is set once there is one.

    `clock` is in monotonic seconds: what this process has patience for does not end because somebody sets the clock.
    """

    kube: Kube
    config: OperatorConfig
    client: HostClient
    streams: HostStreams
    occupancy: Occupancy = field(default_factory=Occupancy)
    admission: Admission = field(default_factory=Admission)
    deleted: DeletedPods = field(default_factory=DeletedPods)
    queue: SessionQueue | None = None
    tally: Tally = field(default_factory=Tally)
    pulls: Pulls = field(default_factory=Pulls)
    clock: Callable[[], float] = time.monotonic
    moves: Moves = field(init=False)
    _written: dict[str, datetime] = field(default_factory=dict)
    _noted: dict[str, tuple[object, ...]] = field(default_factory=dict)
    _due: set[Key] = field(default_factory=set)
    _leaving: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Have the hosts' news bring their sessions here."""
        self.moves = Moves(self.config.rollout, self._look_at)
        self.streams.on_session = self.on_news
        self.streams.on_host = self.on_host

    async def plan(self, session: AgentSession, now: datetime) -> Plan:
        """Return what is left to do for the session: a status to write, events, and when to look again."""
        self._due.discard(session.key)
        self.config = with_store_url(self.config)
        if session.metadata.deletion_timestamp is not None:
            return await self._leave(session, now)
        self.occupancy.read(session)
        written = self._written.get(session.metadata.uid)
        around = await self._observe(session, written, now)
        around, told = noted(self.pulls.seen(around, self.clock()), now)
        step = decide(around, now, self.config)
        if step.need is not None and (queue := self.admission.turn(session, step.need, now)) is not None:
            step = ownpod.queued(around, step, queue, now)
        applied = await apply(step.actions, self.kube)
        self.admission.made(session.key, applied.pod_uid)
        refused = "" if makes(step) else applied.refused
        if step.actions:
            step = acted(around, step, applied, now)
        if step.handover is not None:
            step = await self._hand_over(around, step, step.handover, now)
        elif step.put_away is not None:
            step = await self._put_away(session, step, step.put_away)
        if step.put_away is None or not step.put_away.moves:
            self.moves.done(session.key, moved=step.status.host is None)
        await self._leave_hosts(session, step)
        self._reserve(session, step)
        notices = (*told, *step.notices)
        return Plan(step.status, notices=notices, requeue=step.requeue, expired=applied.expired, refused=refused)

    async def _observe(self, session: AgentSession, written: datetime | None, now: datetime) -> Around:
        return await observe(session, self.kube, self.streams, self.occupancy, self.deleted, written, now)

    async def _leave_hosts(self, session: AgentSession, step: Step) -> None:
        """Take a session that rests from the hosts of its pool, once that is written down."""
        at_rest = session.status.host is None and step.status.host is None and not step.placed
        if session.spec.pattern == "Hybrid" and session.spec.pool_ref is not None and at_rest:
            for view in self.streams.holders(session.metadata.uid):
                await self.release(view.address, session.metadata.uid)

    async def _leave(self, session: AgentSession, now: datetime) -> Plan:
        """Have what a session that is being deleted has stored removed, if it asks for that."""
        uid = session.metadata.uid
        if FINALIZER not in session.metadata.finalizers:
            return Plan(session.status)
        tried = self.clock()
        since = timedelta(seconds=tried - self._leaving.setdefault(uid, tried))
        around = await self._observe(session, None, now)
        pod, complaints = await cleanup(session, self.kube, now)
        around = replace(around, cleanup=pod, warnings=complaints)
        free = pod is not None or await self._let_go(around)
        step = forgetting.forget(around, free=free, since=since, now=now, config=self.config)
        applied = await apply(step.actions, self.kube)
        if applied.refused:
            step = forgetting.refused(around, applied.refused, now, self.config)
        return Plan(step.status, notices=step.notices, requeue=step.requeue)

    async def _let_go(self, around: Around) -> bool:
        """Take a session from all hosts that have it, or may have it; return whether they let go.

        From then on none writes to its store again.
        """
        uid, host = around.session.metadata.uid, around.session.status.host
        holders = {view.address.uid: view.address for view in self.streams.hosts() if view.session(uid) is not None}
        pod = around.pod(host.pod_uid) if host is not None else None
        if pod is not None and not around.heard:
            holders[pod.uid] = address_of(pod)
        return all([await self.release(address, uid) for address in holders.values()])

    def was_written(self, session: AgentSession, rest: Plan, now: datetime) -> None:
        """Take note that a status was written; figures alone wait a while from now."""
        if session.lasts:
            self._written[session.metadata.uid] = now
            metrics.session_rolled(session.status.rollout, rest.status.rollout)
            self.tally.written(session, rest.status, rest.notices)

    async def gone(self, key: Key, but: str = "") -> None:
        """Tell the hosts of the sessions of that name which are gone: all but the one with uid `but`."""
        for seat in self.occupancy.under(key):
            if seat.uid == but:
                continue
            self._due.discard(key)
            self.occupancy.leave(seat.uid)
            self.pulls.forget(seat.uid)
            self._written.pop(seat.uid, None)
            self._noted.pop(seat.uid, None)
            self._leaving.pop(seat.uid, None)
            self.moves.done(seat.key)
            self.tally.forget(seat.uid)
            view = self.streams.host(seat.pod_uid)
            if view is not None:
                await self.release(view.address, seat.uid, archive=True)
            self._make_room_known(seat)

    async def release(
        self, host: HostAddress, session_id: str, *, keep_files: bool = False, archive: bool = False
    ) -> bool:
        """Take a session from a host; return whether it let go. What is left over is found later by its snapshot.

        `archive` is for one that is gone and whose stored conversation stays: then so does its workspace.
        """
        try:
            await self.client.delete(host, session_id, "keep" if keep_files else "delete", archive=archive)
            self.streams.unlearn(host.uid, session_id)
        except HostError as error:
            logs.warning("session not taken from its host", host=host.pod, session=session_id, error=error.slug)
            return False
        return True

    def on_news(self, view: HostView, told: HostSession) -> None:
        """A host told of a session: what may change a condition is seen to at once, figures when their time comes."""
        uid, key = str(told.session_id), (told.namespace, told.name)
        seat = self.occupancy.seat(uid)
        if self.queue is None or seat is None or seat.pod_uid != view.address.uid:
            return
        self.tally.heard(seat.pod_uid, told)
        news = _of_note(told)
        if view.session(uid) is None or self._noted.get(uid) != news:
            self._noted[uid] = news
            self.queue.add(key)
        elif key not in self._due:
            self._due.add(key)  # a timer of our own: the queue has one a key, and a pass may have set it to less
            asyncio.get_running_loop().call_later(INTERVAL.total_seconds(), self.queue.add, key)

    def on_host(self, view: HostView) -> None:
        """A host came, went, or drains: see to the sessions on it, and to those that have no host."""
        for seat in self.occupancy.at(view.address.uid):
            self._look_at(seat.key)

    def _make_room_known(self, left: Seat) -> None:
        """See to the sessions that wait for room in the pool that one has left."""
        for seat in self.occupancy.waiting(left.key[0], left.pool):
            self._look_at(seat.key)

    def _look_at(self, key: Key) -> None:
        """Have a session looked at."""
        if self.queue is not None:
            self.queue.add(key)

    async def _hand_over(self, around: Around, step: Step, given: Handover, now: datetime) -> Step:
        """Give the session to its host and return what comes of it."""
        started, address = time.monotonic(), address_of(given.host)
        self.streams.add(address)
        known = self.streams.session(around.session.metadata.uid, address.uid)
        try:
            news = await self.client.activate(address, given.activation)
        except HostError as error:
            metrics.activations.labels(type(error).__name__).inc()
            return self._refused(around, given, error, now)
        metrics.activations.labels("accepted").inc()
        metrics.activation_seconds.observe(time.monotonic() - started)
        self.streams.learn(address.uid, news, known)
        self.tally.heard(address.uid, news)
        return answers.accepted(around, step, given, news, now, self.config)

    async def _put_away(self, session: AgentSession, step: Step, wanted: PutAway) -> Step:
        """Have the session put away; one that moves to another image, when it is its turn."""
        if not wanted.moves:
            return await self._have_put_away(session, step, wanted)
        if not self.moves.turn(session.key):
            return step.within(_SOME_TIME)
        return await self._have_put_away(session, step.within(LOOK_AGAIN), wanted)

    async def _have_put_away(self, session: AgentSession, step: Step, wanted: PutAway) -> Step:
        """Ask the host to put the session away; it tells when it has, and why it cannot."""
        address, uid = address_of(wanted.host), session.metadata.uid
        known = self.streams.session(uid, address.uid)
        try:
            told = await self.client.suspend(address, uid, patient=wanted.patient)
            self.streams.learn(address.uid, told, known)
            if told.put_away:  # it was done before: no news of that will come
                self._look_at(session.key)
        except HostError as error:
            self.tally.refused(error)
            self.moves.done(session.key)
            if not isinstance(error, Busy):
                logs.warning("session not put away", host=address.pod, session=uid, error=error.slug)
        return step

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


def _of_note(told: HostSession) -> tuple[object, ...]:
    """Return what of a session's news is seen to at once: what may change a condition, or end its day."""
    wrong = (told.fault.reason, told.fault.time) if told.fault is not None else None
    died = told.death.time if told.death is not None else None
    storage = told.durable, told.store_problem, told.put_away
    return told.phase is Phase.FAILED, *storage, told.idle_since, wrong, died, told.limit


def address_of(host: HostFacts) -> HostAddress:
    """Return where a host is called."""
    return HostAddress(host.name, host.uid, host.ip)
