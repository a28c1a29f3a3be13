"""Counts what comes of sessions that last: by what a status says and the one before did not, and by what hosts tell.

Between two moments the operator's memory is what there is: one that is restarted leaves out how long the wakes take
that are under way, and what hosts told meanwhile. Times are by one clock of its own, never by a gateway's.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from agentsessions import metrics
from agentsessions.api.bounds import OF_A_TURN
from agentsessions.api.conditions import HELD, LIMITED, ConditionType, Reason
from agentsessions.api.host import HostSession, SessionFault
from agentsessions.api.session import AgentSession
from agentsessions.api.status import AgentSessionStatus
from agentsessions.hosts.errors import HostError
from agentsessions.reconcile.model import Notice

_PUT_AWAY = frozenset({Reason.ASLEEP, Reason.SUSPENDED}) | LIMITED
_NOT_WAKING = _PUT_AWAY | {Reason.QUEUED}
_CANNOT: frozenset[str] = frozenset({Reason.ARCHIVE_FAILED, Reason.STORE_BEHIND})
"""Faults by which a host says that it could not put a session away."""


class _Heard(NamedTuple):
    """What a host last told of a session, as far as it is counted."""

    pod_uid: str
    repairs: int
    cannot: datetime | None
    cut: datetime | None


@dataclass
class Tally:
    """Moves the metrics of sessions that last; remembers which of them wake, and what was heard of each."""

    clock: Callable[[], float] = time.monotonic
    _waking: dict[str, float] = field(default_factory=dict)
    _heard: dict[str, _Heard] = field(default_factory=dict)

    def written(self, session: AgentSession, status: AgentSessionStatus, notices: Sequence[Notice]) -> None:
        """Count what this status says and the one before did not. Called after the write, so that nothing is twice."""
        if session.spec.pattern == "Hybrid":
            self._woken(session, status)
        before = session.status
        gave_pod_up = before.host is not None and status.suspend_time != before.suspend_time
        if gave_pod_up and _ready(status) in _PUT_AWAY:  # one that was woken in vain gives it up with nothing stored
            metrics.put_aways.inc()
        if outcome := _taken_up(before, status):
            metrics.resumes.labels(metrics.known(outcome)).inc()
        for notice in notices:
            if notice.reason in LIMITED:
                metrics.limits_reached.labels(notice.reason).inc()
        metrics.turns_interrupted.inc(sum(notice.reason == Reason.TURN_INTERRUPTED for notice in notices))

    def heard(self, pod_uid: str, told: HostSession) -> None:
        """Count what a host tells and no status has.

        That is repairs of the store, that a session could not be put away, and each turn that ended at a bound: status
        tells of several in a row as of one. What it says first is where counting begins: that may have been counted.
        """
        uid = str(told.session_id)
        cannot, cut = _fault(told, _CANNOT), _fault(told, OF_A_TURN)
        before = self._heard.get(uid)
        self._heard[uid] = _Heard(pod_uid, told.store_repairs, _time(cannot), _time(cut))
        if before is None or before.pod_uid != pod_uid:
            return
        metrics.store_repairs.inc(max(0, told.store_repairs - before.repairs))
        if cannot is not None and cannot.time != before.cannot:
            metrics.put_aways_refused.labels(cannot.reason).inc()
        if cut is not None and cut.time != before.cut:
            metrics.limits_reached.labels(cut.reason).inc()

    def refused(self, error: HostError) -> None:
        """Count a host that will not even try to put a session away."""
        metrics.put_aways_refused.labels(type(error).__name__).inc()

    def forget(self, uid: str) -> None:
        """Forget a session that is gone."""
        self._waking.pop(uid, None)
        self._heard.pop(uid, None)

    def _woken(self, session: AgentSession, status: AgentSessionStatus) -> None:
        """Count a wake when it begins, and how long it took when the session runs."""
        before, uid, reason = session.status, session.metadata.uid, _ready(status)
        if before.host is None and status.wakes > before.wakes:
            metrics.wakes.labels("pool" if session.spec.pool_ref is not None else "own-pod").inc()
        if reason in _NOT_WAKING:
            self._waking.pop(uid, None)
        elif reason == Reason.RUNNING and (began := self._waking.pop(uid, None)) is not None:
            metrics.wake_seconds.observe(self.clock() - began)
        elif before.host is None and status.is_true(ConditionType.RECONCILING):
            self._waking.setdefault(uid, self.clock())


def _fault(told: HostSession, reasons: frozenset[str]) -> SessionFault | None:
    """Return what a host says is wrong, if it is one of these."""
    return told.fault if told.fault is not None and told.fault.reason in reasons else None


def _time(fault: SessionFault | None) -> datetime | None:
    return fault.time if fault is not None else None


def _taken_up(before: AgentSessionStatus, status: AgentSessionStatus) -> str:
    """Return what a host found of a conversation that it has just taken up, or refused to; empty if it did neither."""
    resumed, then, now = status.condition(ConditionType.RESUMED), _ready(before), _ready(status)
    if resumed is None or then == resumed.reason:
        return ""
    taken = now == Reason.RUNNING and (then not in HELD or status.restarts > before.restarts)
    return resumed.reason if taken or now == resumed.reason else ""


def _ready(status: AgentSessionStatus) -> str:
    """Return the reason of Ready."""
    found = status.condition(ConditionType.READY)
    return found.reason if found is not None else ""
