"""One reconciliation: observe, plan, apply, one status write, events. The same for every trigger."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agentsessions import logs, metrics
from agentsessions.api.base import API_VERSION
from agentsessions.api.conditions import Reason, State
from agentsessions.api.config import OperatorConfig
from agentsessions.api.names import STATUS_FIELD_MANAGER
from agentsessions.api.session import AgentSession
from agentsessions.api.status import AgentSessionStatus, Termination
from agentsessions.kube.client import Kube
from agentsessions.kube.paths import SESSIONS
from agentsessions.policies.spending import cost, since
from agentsessions.policies.startup import Diagnosis, refusal
from agentsessions.reconcile import starting
from agentsessions.reconcile.admission import Admission
from agentsessions.reconcile.apply import Applied, apply
from agentsessions.reconcile.hastening import Agents, hasten, is_going
from agentsessions.reconcile.longrunning.driver import LongRunning
from agentsessions.reconcile.model import Notice, Observed, Plan, StartPod
from agentsessions.reconcile.observe import DeletedPods, UnreadableSession, find, observe
from agentsessions.reconcile.plan import make_plan
from agentsessions.reconcile.refusals import Refusals, patience
from agentsessions.reconcile.rows import set_state
from agentsessions.reconcile.telling import post
from agentsessions.reconcile.unreadable import let_go


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Brings one session at a time to what its spec asks for."""

    kube: Kube
    config: OperatorConfig
    deleted: DeletedPods
    reporter: str
    clock: Callable[[], datetime]
    lasting: LongRunning | None = None
    admission: Admission = field(default_factory=Admission)
    refusals: Refusals = field(default_factory=Refusals)
    agents: Agents | None = None

    async def reconcile(self, key: tuple[str, str]) -> timedelta | None:
        """Reconcile the session; return when to look again, if no event will say so. Raises KubeError."""
        try:
            return await self._pass(key)
        except Exception:
            self.admission.stand_aside(key)
            raise

    async def _pass(self, key: tuple[str, str]) -> timedelta | None:
        """Observe, plan, apply, write, tell."""
        now = self.clock().replace(microsecond=0)  # times in Kubernetes objects have whole seconds
        try:
            session = await find(key, self.kube)
        except UnreadableSession as error:
            self.admission.stand_aside(key)
            logs.warning(
                "session cannot be read: CRD and operator differ", namespace=key[0], name=key[1], fields=str(error)
            )
            return await let_go(error.metadata, self.kube, now)
        if self.lasting is not None:
            await self.lasting.gone(key, but=session.metadata.uid if session else "")
        if session is None:
            self.admission.drop(key)
            self.refusals.forget(key)
            return await hasten(key, self.kube, self.agents)
        rest = await self._carried_out(session, now)
        changed = rest.status != session.status
        if changed:
            await self._write(session, rest.status)
        self.admission.read(session, rest.status)
        if changed:
            await self._tell(session, rest, now)
        elif rest.expired:
            await self._post(session, rest.notices)
        notices, again = self.refusals.noted(key, rest.refused, now)
        await self._post(session, notices)
        return rest.within(again).requeue

    async def _carried_out(self, session: AgentSession, now: datetime) -> Plan:
        """Do what is to be done about the session, by its pattern; return what is left: status, events, next look."""
        if session.lasts:
            return await self.lasting.plan(session, now) if self.lasting is not None else Plan(session.status)
        again = await hasten(session.key, self.kube, self.agents, session.metadata.uid) if is_going(session) else None
        seen = await observe(session, self.kube, self.deleted, now)
        plan = make_plan(seen, now, self.config)
        if plan.need is not None and (queue := self.admission.turn(session, plan.need, now)) is not None:
            plan = starting.queued(seen, plan, queue, now)
        applied = await apply(plan.actions, self.kube)
        self.admission.made(session.key, applied.pod_uid)
        return after(seen, plan, applied, now).within(again)

    async def _write(self, session: AgentSession, status: AgentSessionStatus) -> None:
        """Write the status once; a session that changed since it was read is looked at again instead."""
        meta = session.metadata
        manifest = {
            "apiVersion": API_VERSION,
            "kind": "AgentSession",
            "metadata": {
                "name": meta.name,
                "namespace": meta.namespace,
                "uid": meta.uid,
                "resourceVersion": meta.resource_version,
            },
            # The gateway's field: applied by us, it could never be changed by it again.
            "status": {name: value for name, value in status.to_json().items() if name != "lastRequestTime"},
        }
        await self.kube.apply(SESSIONS, manifest, manager=STATUS_FIELD_MANAGER, subresource="status")

    async def _tell(self, session: AgentSession, rest: Plan, now: datetime) -> None:
        """Log, count and post what changed, now that it is written."""
        if self.lasting is not None:
            self.lasting.was_written(session, rest, now)
        before, ready = session.status.condition("Ready"), rest.status.condition("Ready")
        meta = session.metadata
        if ready and (before is None or before.reason != ready.reason):
            where = {"namespace": meta.namespace, "name": meta.name, "uid": meta.uid, "generation": meta.generation}
            logs.info("session changed", **where, state=ready.reason)
        count(session, rest.status, now)
        await self._post(session, rest.notices)

    async def _post(self, session: AgentSession, notices: Sequence[Notice]) -> None:
        """Post events about a session."""
        await post(session, notices, kube=self.kube, now=self.clock(), reporter=self.reporter)


def after(seen: Observed, plan: Plan, applied: Applied, now: datetime) -> Plan:
    """Return what is left of the plan once its actions are done: status, events and when to look again; pure."""
    if applied.pod_in_the_way:
        found = Diagnosis(State.BLOCKED, Reason.POD_CONFLICT, starting.conflict(applied.pod_in_the_way))
        return _not_started(seen, found, now)
    if applied.overtaken:
        return Plan(seen.session.status, requeue=timedelta())  # what was decided by what the pod was holds no longer
    if applied.refused and not applied.pod_uid and any(isinstance(action, StartPod) for action in plan.actions):
        return _not_started(seen, refusal(applied.refused), now)
    status = plan.status
    if applied.pod_uid and status.host:
        host = status.host.model_copy(update={"pod_uid": applied.pod_uid})
        status = status.model_copy(update={"host": host})
    return Plan(status, notices=plan.notices, requeue=plan.requeue, refused=applied.refused)


def _not_started(seen: Observed, found: Diagnosis, now: datetime) -> Plan:
    """Return what is left of a plan whose pod could not be made: the refusal, and when to try again."""
    status = set_state(seen, found.state, found.reason, found.message, now).model_copy(update={"host": None})
    return Plan(status, notices=starting.once(seen, found.reason, found.message), requeue=_patience(status, now))


def _patience(status: AgentSessionStatus, now: datetime) -> timedelta:
    """Wait as long again as the refusal has lasted, within bounds: what is refused may be mended any time."""
    ready = status.condition("Ready")
    return patience(now - ready.last_transition_time if ready else timedelta())


def count(session: AgentSession, status: AgentSessionStatus, now: datetime) -> None:
    """Move the metrics by what this status says and the one before did not.

    Called after the write: what was used is never counted twice, whoever restarts; an operator that dies between write
    and count leaves that one difference out.
    """
    before, age = session.status, (now - session.metadata.creation_timestamp).total_seconds()
    first = before.start_time is None and before.usage is None  # not of one that was over, and goes on
    if status.is_true("Active") and first and session.spec.pattern != "Hybrid":
        metrics.start_seconds.observe(age)
    if status.last_termination and _is_another(status.last_termination, before.last_termination):
        metrics.attempt_failed(status.last_termination.reason)
    metrics.spent(session.metadata.namespace, since(before.usage, status.usage), _dollars_since(before, status))
    if status.completion_time and before.completion_time is None:
        outcome = "succeeded" if status.is_true("Succeeded") else "failed"
        metrics.session_finished(outcome, age)


def _is_another(end: Termination, before: Termination | None) -> bool:
    """Return whether that is another end than before: of a pod's, more may have become known."""
    if before is None or end.in_place or before.in_place:
        return end != before
    return (end.pod, end.pod_uid) != (before.pod, before.pod_uid)


def _dollars_since(before: AgentSessionStatus, status: AgentSessionStatus) -> float:
    """Return what was spent between two statuses; figures never fall, and a counter must not."""
    return max(0.0, float(cost(status.usage) - cost(before.usage)))
