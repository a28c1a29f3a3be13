"""The beginning of an attempt: admission, backoff, and the children that its pod needs; pure."""

from datetime import datetime, timedelta

from agentsessions.api.conditions import Reason, State
from agentsessions.api.config import OperatorConfig
from agentsessions.api.names import pod_name
from agentsessions.api.session import AgentSession
from agentsessions.api.status import Host, Queue
from agentsessions.builders.networkpolicy import network_policy, policy_label
from agentsessions.builders.pod import session_pod
from agentsessions.builders.secret import session_secret
from agentsessions.builders.volumeclaim import volume_claim
from agentsessions.policies import admission, deadline, restart
from agentsessions.policies.facts import PodFacts
from agentsessions.policies.queueing import look_again, words
from agentsessions.policies.resolve import Settings, describe, resolve
from agentsessions.policies.startup import PATIENCE, Diagnosis
from agentsessions.reconcile.disruption import shelter, sheltered
from agentsessions.reconcile.model import Action, DeletePod, Ensure, Need, Notice, Observed, Plan, StartPod
from agentsessions.reconcile.rows import host_of, set_state

LOOK_AGAIN = timedelta(seconds=15)


def start(seen: Observed, now: datetime, config: OperatorConfig) -> Plan:
    """Start the present attempt, unless something forbids it or its time has not come."""
    settings = settings_of(seen, config)
    if settings is None:
        return blocked(seen, Reason.TEMPLATE_NOT_FOUND, seen.template_problem, now)
    if problem := admission.problem(seen.session.spec, settings):
        return blocked(seen, Reason.INVALID_SPEC, problem, now)
    wait = time_to_next(seen.session, config, now)
    if wait > timedelta():
        return Plan(seen.session.status, requeue=wait)
    return _started(seen, settings, now, config)


def settings_of(seen: Observed, config: OperatorConfig) -> Settings | None:
    """Return the session's settings, or None while its template is missing."""
    if seen.template_problem:
        return None
    return resolve(seen.session.spec, seen.template, config.defaults, template_name=seen.template_name)


def time_to_next(session: AgentSession, config: OperatorConfig, now: datetime) -> timedelta:
    """Return how long the next attempt still has to wait."""
    status = session.status
    if status.last_termination is None or status.last_termination.finished_at is None:
        return timedelta()
    uid = session.metadata.uid
    pause = restart.pause(config.retry_backoff, uid, failures=status.failures, disruptions=status.disruptions)
    return min(status.last_termination.finished_at + pause - now, pause)  # a node's clock may be ahead of ours


def blocked(seen: Observed, reason: Reason, message: str, now: datetime) -> Plan:
    """Say what only a person can mend; the session starts by itself once it is mended."""
    status = set_state(seen, State.BLOCKED, reason, message, now)
    return Plan(status, notices=once(seen, reason, message))


def _started(seen: Observed, settings: Settings, now: datetime, config: OperatorConfig) -> Plan:
    """Make the children in the order in which they need each other, the pod last."""
    session, attempt = seen.session, seen.session.status.restarts
    name = pod_name(session.metadata.name, session.metadata.uid, attempt)
    status = set_state(seen, State.PROGRESSING, Reason.STARTING, f"Pod '{name}' is starting.", now)
    update = {"resolved": describe(settings), "host": Host(pod=name)}
    return Plan(
        status.model_copy(update=update),
        actions=children(session, settings, attempt, now, config),
        requeue=PATIENCE + timedelta(seconds=1),
        need=Need(name, settings.fields.priority or 0),
    )


def queued(seen: Observed, plan: Plan, queue: Queue, now: datetime) -> Plan:
    """Return what is left of a plan to start a pod while it is not the session's turn: its earlier pods still go."""
    status = set_state(seen, State.PROGRESSING, Reason.QUEUED, words(queue), now)
    bound = status.resolved.active_deadline_seconds if status.resolved else None
    actions = tuple(action for action in plan.actions if isinstance(action, DeletePod))
    left = Plan(status.model_copy(update={"queue": queue, "host": None}), actions, requeue=look_again(queue.position))
    left = left.within(deadline.remaining(status.start_time, bound, now))
    return left.within(LOOK_AGAIN if any(pod.deleting for pod in seen.own_pods) else None)


def children(
    session: AgentSession, settings: Settings, attempt: int, now: datetime, config: OperatorConfig
) -> tuple[Action, ...]:
    """Return the actions that make everything one attempt needs."""
    policy = network_policy(session.metadata.namespace, settings, config)
    secret = session_secret(session, settings, attempt)
    claim = volume_claim(session, settings)
    limits = settings.fields.limits
    bound = limits.active_deadline_seconds if limits else None
    pod = session_pod(
        session,
        settings,
        attempt,
        secret=secret["metadata"]["name"],
        policy_label=policy_label(policy),
        deadline=deadline.remaining(session.status.start_time, bound, now),
        gateway=config.gateway,
        node_loss_seconds=config.node_loss_seconds,
    )
    first: list[Action] = [Ensure(policy, look=True), *shelter(session.metadata.namespace, settings.disruption)]
    if claim is not None:
        first.append(Ensure(claim, look=True))
    return (*first, Ensure(secret), StartPod(pod))


def guard(
    session: AgentSession, settings: Settings | None, pod: PodFacts, config: OperatorConfig
) -> tuple[Action, ...]:
    """Return what must hold as long as the pod does: the policy it was made under, if still known; budget and marks."""
    if settings is None:
        return ()
    namespace = session.metadata.namespace
    policy = network_policy(namespace, settings, config)
    fence = (Ensure(policy, look=True),) if policy_label(policy) == pod.policy_label else ()
    return (*fence, *sheltered(pod, namespace, settings.disruption))


def waiting(seen: Observed, pod: PodFacts, found: Diagnosis, now: datetime) -> Plan:
    """Say what a pod that has not started is waiting for, and look again: not every cause sends an event."""
    status = set_state(seen, found.state, found.reason, found.message, now)
    notices = once(seen, found.reason, found.message) if found.state is State.BLOCKED else ()
    since = max(now - pod.created, timedelta())  # the API server's clock may be ahead of ours
    wait = LOOK_AGAIN if since > PATIENCE else PATIENCE - since + timedelta(seconds=1)
    return Plan(status.model_copy(update={"host": _host(status.host, pod)}), notices=notices, requeue=wait)


def _host(known: Host | None, pod: PodFacts) -> Host:
    """Keep what is known of the same pod: that it has a node by now is not worth a write of its own."""
    return known if known is not None and known.pod_uid == pod.uid else host_of(pod)


def foreign_pod(seen: Observed, pod: PodFacts, now: datetime) -> Plan:
    """A pod of ours by label, but not by owner, stands where ours should: never touch it, never adopt it."""
    return blocked(seen, Reason.POD_CONFLICT, conflict(pod.name), now)


def conflict(pod: str) -> str:
    """Return what to say about a pod that is not ours and bears the name of ours."""
    return f"Pod '{pod}' exists and does not belong to this session. Delete it and the session starts."


def once(seen: Observed, reason: str, message: str) -> tuple[Notice, ...]:
    """Return a warning event when the reason is new; the condition says it from then on."""
    ready = seen.session.status.condition("Ready")
    if ready is not None and ready.reason == reason:
        return ()
    return (Notice("Warning", reason, "Start", message),)
