"""The end of an attempt, and of the session: what is recorded, retried, kept and removed; pure."""

from datetime import datetime

from agentsessions.api.conditions import Reason, State
from agentsessions.api.config import OperatorConfig
from agentsessions.api.status import AgentSessionStatus, Termination
from agentsessions.policies import restart, retention, spending
from agentsessions.policies.facts import PodFacts
from agentsessions.policies.nodeloss import is_lost
from agentsessions.policies.outcome import Verdict, judge, result_of, usage_of
from agentsessions.reconcile.model import Action, DeletePod, DeleteSession, Notice, Observed, Plan
from agentsessions.reconcile.rows import host_of, set_state


def attempt_ended(seen: Observed, pod: PodFacts, now: datetime, config: OperatorConfig) -> Plan:
    """Record how the attempt ended; finish the session, or go on to the next attempt."""
    verdict = judge(pod, seen.session.metadata.uid, lost=is_lost(pod, now))
    status = _with_usage(seen.session.status, pod, verdict)
    if verdict.succeeded:
        return _succeeded(seen, status, pod, verdict, now)
    status = _counted(status, _termination(pod, verdict, now), verdict, now)
    return _failed(seen, status, verdict, now, config)


def pod_vanished(seen: Observed, now: datetime, config: OperatorConfig) -> Plan:
    """The pod is gone and nobody saw its end: drained, deleted by hand, or lost with its node."""
    host = seen.session.status.host
    if host is None or host.pod_uid is None:
        raise ValueError("no pod is named in status, so none can have vanished")
    text = f"Pod '{host.pod}' was deleted before it could report."
    verdict = Verdict(False, Reason.POD_DELETED, text, retryable=True, counts=False)
    last = Termination(
        reason=verdict.reason, message=text, finished_at=now, pod=host.pod, pod_uid=host.pod_uid, node=host.node
    )
    status = _counted(seen.session.status, last, verdict, now)
    return _failed(seen, status, verdict, now, config)


def _counted(status: AgentSessionStatus, end: Termination, verdict: Verdict, now: datetime) -> AgentSessionStatus:
    """Return the status with the end of an attempt: all failures count, disruptions only as long as they go on."""
    before = 0 if restart.is_calm(status.last_termination, end.finished_at or now) else status.disruptions
    update = {
        "failures": status.failures + (1 if verdict.counts else 0),
        "disruptions": before + (0 if verdict.counts else 1),
        "last_termination": end,
    }
    return status.model_copy(update=update)


def overdue(seen: Observed, pod: PodFacts | None, now: datetime) -> Plan:
    """The deadline passed while no node was there to enforce it."""
    text = "The session was stopped: it ran longer than `limits.activeDeadlineSeconds`."
    verdict = Verdict(False, Reason.DEADLINE_EXCEEDED, text)
    plan = _finished_badly(seen, seen.session.status, verdict, text, now)
    return plan.then(DeletePod(pod, seen.namespace, soon=True)) if pod is not None else plan


def not_started(seen: Observed, pod: PodFacts, text: str, now: datetime) -> Plan:
    """The pod found no node, no volume or no image in time: nothing of the session has run, and nothing will."""
    verdict = Verdict(False, Reason.START_DEADLINE_EXCEEDED, text)
    plan = _finished_badly(seen, seen.session.status, verdict, text, now)
    return plan.then(DeletePod(pod, seen.namespace, unchanged=True))


def tidy(seen: Observed, now: datetime) -> Plan:
    """The session is finished: let go of its pods, and of itself when its time to live is over."""
    session = seen.session
    keep = session.spec.pod_retention_policy == "Retain"
    left_over = [] if keep else [pod for pod in seen.own_pods if not pod.deleting]
    doomed: list[Action] = [DeletePod(pod, seen.namespace, soon=True) for pod in left_over]
    if session.status.completion_time is None:
        raise ValueError("the session is not finished")
    left = retention.time_to_live(session.spec, session.status.completion_time, now)
    if left is not None and left.total_seconds() <= 0:
        return Plan(session.status, actions=(DeleteSession(session),))
    status = _observed(seen)
    return Plan(status, actions=tuple(doomed), requeue=left)


def _observed(seen: Observed) -> AgentSessionStatus:
    """Acknowledge a spec that changed after the end; kstatus waits for that."""
    return seen.session.status.model_copy(update={"observed_generation": seen.session.metadata.generation})


def _with_usage(status: AgentSessionStatus, pod: PodFacts, verdict: Verdict) -> AgentSessionStatus:
    """Return the status with the attempt's usage added."""
    report = verdict.report
    used = spending.total(status.usage, usage_of(report))
    oom = max(report.oom_kills if report else 0, 1 if _killed_by_node(pod) else 0)
    start = status.start_time or pod.accepted
    update = {"usage": used, "oom_kills": status.oom_kills + oom, "start_time": start, "host": host_of(pod)}
    return status.model_copy(update=update)


def _killed_by_node(pod: PodFacts) -> bool:
    """Return whether the node says that memory ran out."""
    return pod.ended is not None and pod.ended.reason == "OOMKilled"


def _succeeded(seen: Observed, status: AgentSessionStatus, pod: PodFacts, verdict: Verdict, now: datetime) -> Plan:
    """Finish the session well."""
    status = set_state(seen, State.SUCCEEDED, verdict.reason, verdict.message, now, onto=status)
    update = {"result": result_of(pod, verdict.report), "completion_time": _finish_time(pod, now)}
    return Plan(status.model_copy(update=update))


def _finish_time(pod: PodFacts, now: datetime) -> datetime:
    """Return when the agent ended, by the node's clock if it said so."""
    return pod.ended.finished_at if pod.ended and pod.ended.finished_at else now


def _failed(
    seen: Observed, status: AgentSessionStatus, verdict: Verdict, now: datetime, config: OperatorConfig
) -> Plan:
    """Retry an attempt that failed, or finish the session badly."""
    spec = seen.session.spec
    if not restart.may_retry(spec, verdict, status.failures):
        return _finished_badly(seen, status, verdict, _last_words(spec.backoff_limit, status, verdict), now)
    text = (
        f"{verdict.message} Another attempt follows (failures: {status.failures}, backoffLimit: {spec.backoff_limit})."
    )
    uid = seen.session.metadata.uid
    pause = restart.pause(config.retry_backoff, uid, failures=status.failures, disruptions=status.disruptions)
    notice = Notice("Warning", verdict.reason, "Retry", verdict.message)
    status = set_state(seen, State.PROGRESSING, Reason.BACK_OFF, text, now, onto=status)
    update = {"restarts": status.restarts + 1, "host": None}
    return Plan(status.model_copy(update=update), notices=(notice,), requeue=pause)


def _last_words(limit: int, status: AgentSessionStatus, verdict: Verdict) -> str:
    """Return why the session ends here."""
    if verdict.retryable and status.failures > limit:
        return f"{verdict.message} No attempt is left (backoffLimit is {limit})."
    return verdict.message


def _finished_badly(seen: Observed, status: AgentSessionStatus, verdict: Verdict, text: str, now: datetime) -> Plan:
    """Finish the session without success."""
    status = set_state(seen, State.FAILED, verdict.reason, text, now, onto=status)
    notice = Notice("Warning", verdict.reason, "Fail", text)
    return Plan(status.model_copy(update={"completion_time": now}), notices=(notice,))


def _termination(pod: PodFacts, verdict: Verdict, now: datetime) -> Termination:
    """Return the record of an attempt that did not succeed."""
    return Termination(
        reason=verdict.reason,
        message=verdict.message[:1024],
        exit_code=pod.ended.exit_code if pod.ended else None,
        finished_at=_finish_time(pod, now),
        pod=pod.name,
        pod_uid=pod.uid,
        node=pod.node,
    )
