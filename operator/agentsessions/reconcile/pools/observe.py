"""Reads what is around a pool, live; the sessions on its hosts from what hosts and watches have told."""

from collections.abc import Iterable
from datetime import datetime

from pydantic import ValidationError

from agentsessions.api.names import LABEL_POOL_UID
from agentsessions.api.pool import AgentPool
from agentsessions.builders.pool.meta import stem
from agentsessions.hosts.views import HostView
from agentsessions.kube.client import Kube
from agentsessions.kube.paths import CORE_EVENTS, PODS, POOLS, STATEFUL_SETS
from agentsessions.policies.facts import pod_facts
from agentsessions.policies.hosts import HostFacts, host_facts
from agentsessions.policies.startup import Diagnosis, PodWarning, diagnose, needs_events
from agentsessions.reconcile.longrunning.driver import LongRunning
from agentsessions.reconcile.observe import read_template
from agentsessions.reconcile.pools.model import PoolSeen


class UnreadablePool(Exception):
    """A pool that the API server accepted and this operator cannot read; the text names the fields."""


async def observe(
    key: tuple[str, str], kube: Kube, lasting: LongRunning, written: datetime | None, now: datetime
) -> PoolSeen | None:
    """Return what is known around the pool, or None if it is gone or going."""
    raw = await kube.get(POOLS, *key)
    if raw is None or "deletionTimestamp" in raw["metadata"]:
        return None
    try:
        pool = AgentPool.model_validate(raw)
    except ValidationError as error:
        fields = sorted({".".join(map(str, one["loc"])) for one in error.errors()})
        raise UnreadablePool(", ".join(fields)) from error
    name, template, problem = await read_template(key[0], pool.spec.template_ref, kube)
    bodies = await kube.list(PODS, key[0], labelSelector=f"{LABEL_POOL_UID}={pool.metadata.uid}")
    # A pod that nothing controls only bears the labels.
    owned = [body for body in bodies if host_facts(body).owner_uid]
    hosts = sorted(map(host_facts, owned), key=lambda host: host.ordinal)
    return PoolSeen(
        pool=pool,
        template=template,
        template_name=name,
        template_problem=problem,
        stateful_set=await kube.get(STATEFUL_SETS, key[0], stem(pool)),
        hosts=tuple(hosts),
        loads=lasting.occupancy.loads("", pool.key, hosts, lasting.streams.hosts()),
        heard=frozenset(view.address.pod for view in lasting.streams.hosts() if view.connected and view.heard),
        not_durable=_not_durable(hosts, lasting.streams.hosts()),
        waiting=len(lasting.occupancy.waiting(*pool.key)),
        trouble=await _trouble(owned, kube, key[0], now),
        written=written,
    )


def _not_durable(hosts: Iterable[HostFacts], views: Iterable[HostView]) -> int:
    """Return how many sessions on these hosts are not in their store."""
    ours = {host.uid for host in hosts}
    told = [one for view in views if view.address.uid in ours for one in view.sessions.values()]
    return sum(one.durable is False for one in told)


async def _trouble(bodies: list[dict[str, object]], kube: Kube, namespace: str, now: datetime) -> Diagnosis | None:
    """Return what keeps the first host that does not start from starting."""
    for body in bodies:
        pod = pod_facts(body)
        if pod.phase != "Pending" and not pod.waiting_reason:
            continue
        image = body["spec"]["containers"][0]["image"]  # type: ignore[index]
        warnings = await _warnings(pod.uid, kube, namespace) if needs_events(pod, now) else []
        found = diagnose(pod, warnings, str(image))
        if found.reason != "Starting":
            return found
        if pod.waiting_reason == "CrashLoopBackOff":
            return Diagnosis(found.state, "AgentFailed", f"Host '{pod.name}' ends again and again: see its log.")
    return None


async def _warnings(uid: str, kube: Kube, namespace: str) -> list[PodWarning]:
    """Return the warning events about a pod, oldest first."""
    found = await kube.list(CORE_EVENTS, namespace, fieldSelector=f"involvedObject.uid={uid},type=Warning")
    ordered = sorted(found, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""))
    return [PodWarning(e.get("reason", ""), e.get("message", "")) for e in ordered]
