"""What to do about a session: pure. The same world gives the same plan, however often it is asked.

A session goes through attempts, numbered from 0: `status.restarts` is the number of the present one. An attempt has
one pod, whose name follows from the number. Its end is written to status before the pod is thrown away.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from agentsessions.api.conditions import Reason, State
from agentsessions.api.config import OperatorConfig
from agentsessions.api.status import AgentSessionStatus, Resolved
from agentsessions.policies import deadline, startup
from agentsessions.policies.facts import PodFacts
from agentsessions.policies.nodeloss import is_lost
from agentsessions.policies.resolve import describe
from agentsessions.reconcile import ending, raising, starting
from agentsessions.reconcile.model import DeletePod, Observed, Plan
from agentsessions.reconcile.rows import running, set_state


def make_plan(seen: Observed, now: datetime, config: OperatorConfig) -> Plan:
    """Return what to do about the session."""
    session = seen.session
    if session.metadata.deletion_timestamp is not None:
        return Plan(session.status)
    if session.status.completion_time is not None:
        return raising.reopened(seen, now) if raising.may_go_on(seen) else ending.tidy(seen, now)
    plan = _present_attempt(seen, now, config)
    return _without_lost(seen, plan.then(*_leftovers(seen)), now)


def _without_lost(seen: Observed, plan: Plan, now: datetime) -> Plan:
    """Return the plan with an end to pods that were lost with their nodes: nobody else will say that they ended.

    But for those with a volume, which one that lives on would share with its successor.
    """
    leaving = [pod for pod in seen.own_pods if pod.deleting and not pod.is_terminal]
    lost = [DeletePod(pod, seen.namespace, lost=True) for pod in leaving if is_lost(pod, now)]
    plan = plan.within(starting.LOOK_AGAIN if len(lost) < len(leaving) else None)
    return plan if _has_volume(seen.session.status) else plan.then(*lost)


def _has_volume(status: AgentSessionStatus) -> bool:
    """Return whether the session's pods share a disk, as far as status says."""
    return status.resolved is not None and bool(status.resolved.storage)


def _present_attempt(seen: Observed, now: datetime, config: OperatorConfig) -> Plan:
    """Plan by where the present attempt's pod stands."""
    pod = present_pod(seen)
    if pod is None:
        return _without_pod(seen, now, config)
    if pod.owner_uid != seen.session.metadata.uid:
        return starting.foreign_pod(seen, pod, now)
    if _is_being_remade(seen, pod):
        return Plan(seen.session.status, requeue=starting.LOOK_AGAIN)
    seen = _informed(seen, pod, config)
    if pod.is_terminal:
        return ending.attempt_ended(seen, pod, now, config)
    if _is_overdue(seen.session.status, pod, now):
        return ending.overdue(seen, pod, now)
    if pod.deleting and is_lost(pod, now):
        return _lost(seen, pod, now, config)
    if pod.has_started:
        return _running(seen, pod, now, config)
    return _waiting(seen, pod, now, config)


def _lost(seen: Observed, pod: PodFacts, now: datetime, config: OperatorConfig) -> Plan:
    """The pod was lost with its node: another attempt follows, but for one whose volume the lost pod may write to."""
    if not _has_volume(seen.session.status):
        return ending.attempt_ended(seen, pod, now, config)
    text = (
        f"Pod '{pod.name}' was lost with its node '{pod.node or ''}', and may still write to the session's volume. The "
        "next attempt waits until the node is back or, once it is sure to be off, its Node object is removed or has "
        "the taint node.kubernetes.io/out-of-service."
    )
    status = set_state(seen, State.PROGRESSING, Reason.NODE_LOST, text, now)
    return Plan(status, requeue=_time_left(seen.session.status, pod, now))


def _is_being_remade(seen: Observed, pod: PodFacts) -> bool:
    """Return whether we took the pod away before its agent ran: then its end is not the end of an attempt."""
    ran = pod.running or (pod.ended is not None and pod.ended.reason != "ContainerStatusUnknown")
    return pod.deleting and seen.session.status.host is None and not ran


def _informed(seen: Observed, pod: PodFacts, config: OperatorConfig) -> Observed:
    """Add to status what the pod was made with, also if that pass was cut short, and what only the operator goes by."""
    status, settings = seen.session.status, starting.settings_of(seen, config)
    if settings is None or settings.hash != pod.template_hash:
        return seen
    status = status.model_copy(update={"resolved": describe(settings)})
    return replace(seen, session=seen.session.model_copy(update={"status": status}))


def _running(seen: Observed, pod: PodFacts, now: datetime, config: OperatorConfig) -> Plan:
    """The agent is at work: see that its NetworkPolicy still stands, which others may have removed."""
    guard = starting.guard(seen.session, starting.settings_of(seen, config), pod, config)
    return Plan(running(seen, pod, now, config), actions=guard, requeue=_time_left(seen.session.status, pod, now))


def present_pod(seen: Observed) -> PodFacts | None:
    """Return the pod of the present attempt, if there is one: our own, rather than another that bears its labels."""
    attempt, uid = seen.session.status.restarts, seen.session.metadata.uid
    return max((pod for pod in seen.pods if pod.attempt == attempt), key=lambda pod: pod.owner_uid == uid, default=None)


def _leftovers(seen: Observed) -> list[DeletePod]:
    """Return the deletion of pods whose attempts are over and written down."""
    attempt = seen.session.status.restarts
    if seen.session.spec.pod_retention_policy == "Retain":
        return []
    return [DeletePod(pod, seen.namespace) for pod in seen.own_pods if pod.attempt < attempt and not pod.deleting]


def _without_pod(seen: Observed, now: datetime, config: OperatorConfig) -> Plan:
    """The attempt has no pod: it was never made, or somebody took it away."""
    status = seen.session.status
    if _pod_was_known(status):
        return ending.pod_vanished(seen, now, config)
    if deadline.is_over(status.start_time, _bound(status), now):
        return ending.overdue(seen, None, now)
    return starting.start(seen, now, config)


def _pod_was_known(status: AgentSessionStatus) -> bool:
    """Return whether status names a pod whose end it does not tell."""
    if status.host is None or status.host.pod_uid is None:
        return False
    last = status.last_termination
    return last is None or last.pod_uid != status.host.pod_uid


def _waiting(seen: Observed, pod: PodFacts, now: datetime, config: OperatorConfig) -> Plan:
    """The pod has not started: replace it if its making has changed since, else say what it waits for."""
    settings = starting.settings_of(seen, config)
    if settings is not None and settings.hash != pod.template_hash and not pod.deleting:
        return _remade(seen, pod, now)
    known = seen.session.status.resolved or Resolved()
    found = startup.diagnose(pod, seen.warnings, known.image or "")
    left = deadline.time_to_start(pod, known.start_deadline_seconds, now)
    if left is not None and left <= timedelta():
        return ending.not_started(seen, pod, deadline.too_late(known.start_deadline_seconds or 0, found.message), now)
    plan = starting.waiting(seen, pod, found, now).then(*starting.guard(seen.session, settings, pod, config))
    return plan.within(left)


def _remade(seen: Observed, pod: PodFacts, now: datetime) -> Plan:
    """Let go of a pod in two passes: status forgets it first, so that its end is never taken for an attempt's."""
    status = set_state(seen, State.PROGRESSING, Reason.STARTING, "Settings changed: the pod is made anew.", now)
    status = status.model_copy(update={"host": None})
    if seen.session.status.host is not None:
        return Plan(status, requeue=timedelta())
    return Plan(status, actions=(DeletePod(pod, seen.namespace, unchanged=True),))


def _bound(status: AgentSessionStatus) -> int | None:
    """Return the session's wall-clock bound in seconds."""
    return status.resolved.active_deadline_seconds if status.resolved else None


def _is_overdue(status: AgentSessionStatus, pod: PodFacts, now: datetime) -> bool:
    """Return whether the node, which stops the pod first, has failed to."""
    start = status.start_time or pod.accepted
    return start is not None and deadline.is_over(start, _bound(status), now - deadline.GRACE)


def _time_left(status: AgentSessionStatus, pod: PodFacts, now: datetime) -> timedelta | None:
    """Return when to look again at a running pod: just after the node should have stopped it."""
    left = deadline.remaining(status.start_time or pod.accepted, _bound(status), now)
    return None if left is None else left + deadline.GRACE
