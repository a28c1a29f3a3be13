"""Finds a host for a session that has none, or whose host is gone; pure."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from agentsessions.api.conditions import Reason, State
from agentsessions.api.config import OperatorConfig
from agentsessions.api.pool import AgentPool
from agentsessions.api.status import AgentSessionStatus, Host
from agentsessions.policies import placement
from agentsessions.policies.endpoint import endpoint
from agentsessions.policies.hosts import HostFacts
from agentsessions.policies.nodeloss import is_lost
from agentsessions.policies.outcome import Verdict
from agentsessions.reconcile.longrunning.model import LOOK_AGAIN, Around, Step
from agentsessions.reconcile.longrunning.restarts import at, judged, with_end
from agentsessions.reconcile.longrunning.rows import set_state, waiting
from agentsessions.reconcile.model import Notice


def place(around: Around, pool: AgentPool, now: datetime, config: OperatorConfig) -> Step:
    """Give the session the host that its id hashes to, among those that are ready and have room."""
    status = around.session.status.model_copy(update={"host": None})
    ready = {host.name: host for host in around.hosts if host.ready and not host.deleting}
    if not ready:
        text = f"No host of pool '{around.pool_name}' is ready."
        return waiting(around, Reason.NO_READY_HOST, text, now, LOOK_AGAIN, onto=status)
    takers = {name: host for name, host in ready.items() if host.uid not in around.not_now}
    loads = {name: around.loads.get(name, 0) for name in takers}
    found = placement.place(around.session.metadata.uid, loads, around.capacity, Decimal(pool.spec.load_factor))
    if found is None:
        text = f"Every host of pool '{around.pool_name}' is full. The session starts when there is room."
        return waiting(around, Reason.POOL_FULL, text, now, LOOK_AGAIN, onto=status)
    return put(around, takers[found], now, config)


def put(around: Around, host: HostFacts, now: datetime, config: OperatorConfig) -> Step:
    """Write down where the session is to be; the next pass hands it over. To have run before makes it a restart."""
    before = around.session.status
    status = set_state(around, State.PROGRESSING, Reason.STARTING, f"Host '{host.name}' is given the session.", now)
    again = 1 if before.start_time is not None else 0
    update = {
        "host": at(host),
        "endpoint": endpoint(around.session, config),
        "restarts": before.restarts + again,
    }
    return Step(
        status.model_copy(update=update),
        requeue=timedelta(),
        placed="again" if before.start_time is not None or before.host is not None else "first",
    )


def ending(around: Around, now: datetime) -> Around:
    """Return what is known with the end of the host's pod written down, as soon as the pod says how: it may not later.

    So it is told also while the session still comes to the end of its turn there.
    """
    pod, status = around.host_pod, around.session.status
    if pod is None or status.start_time is None:
        return around
    given_up = is_lost(pod, now)
    if not pod.is_terminal and not given_up and not (pod.deleting and pod.disrupted):
        return around
    host, verdict = judged(pod, around.session.metadata.uid, lost=given_up)
    return around.knowing(with_end(status, host, verdict, now, end=pod.ended))


def lost(around: Around, pool: AgentPool, host: Host, storage: bool, now: datetime, config: OperatorConfig) -> Step:
    """The pod that held the session is gone, or stops and has stored it: wait for the heir of its files, or go."""
    around = _left(around, host, now)
    heir = next((pod for pod in around.hosts if pod.name == host.pod and not pod.deleting), None)
    if heir is not None and heir.ready and storage:
        return put(_renumbered(around), heir, now, config)
    if storage and _comes_back(host.pod, pool):
        text = f"Host '{host.pod}' is coming back; the session's files are on its volume."
        return waiting(around, Reason.HOST_NOT_READY, text, now, LOOK_AGAIN)
    return place(_renumbered(around), pool, now, config).saying(*_loss(around, around.session.status, host))


def _left(around: Around, host: Host, now: datetime) -> Around:
    """Return what is known with the loss of the host written down, unless its pod has said how it ended.

    One that never said it had the session has ended nothing of it.
    """
    status, how = around.session.status, _how(around, host)
    if status.start_time is None:
        return around
    verdict = Verdict(False, Reason.HOST_LOST, f"Host '{host.pod}' {how}.", retryable=True, counts=False)
    if around.given_up:
        text = f"Host '{host.pod}' was lost with its node '{host.node or ''}'."
        verdict = replace(verdict, reason=Reason.NODE_LOST, message=text)
    return around.knowing(with_end(status, host, verdict, now))


def _renumbered(around: Around) -> Around:
    """Count the loss of a host that never said it had the session; of others, their next placing counts it.

    It may have been given the session by a pass that was cut short: no two hosts may claim a conversation alike.
    """
    status = around.session.status
    if status.start_time is not None:
        return around
    return around.knowing(status.model_copy(update={"restarts": status.restarts + 1}))


def _comes_back(pod: str, pool: AgentPool) -> bool:
    """Return whether the StatefulSet makes a pod of that name again."""
    ordinal = pod.rpartition("-")[2]
    return ordinal.isdecimal() and int(ordinal) < max(pool.status.desired_replicas, _asked(pool))


def _asked(pool: AgentPool) -> int:
    """Return how many hosts the spec asks for at least; status may not say yet."""
    scaled = pool.spec.autoscaling
    return scaled.min_replicas if scaled else pool.spec.replicas


def _loss(around: Around, status: AgentSessionStatus, host: Host) -> tuple[Notice, ...]:
    """Return the event that says that a running session lost its host."""
    if status.start_time is None:
        return ()
    text = f"Host '{host.pod}' {_how(around, host)}; the session moves to another host of pool '{around.pool_name}'."
    return (Notice("Warning", Reason.HOST_LOST, "Move", text),)


def _how(around: Around, host: Host) -> str:
    """Return what has become of the session's host."""
    return "is gone" if around.pod(host.pod_uid) is None else "stops"
