"""Reads what is around a pool, live; the sessions on its hosts from what hosts and watches have told."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from pydantic import ValidationError

from agentsessions import logs
from agentsessions.api.base import Json
from agentsessions.api.names import LABEL_POOL_UID
from agentsessions.api.pool import AgentPool
from agentsessions.builders.pool.meta import stem
from agentsessions.hosts.views import HostView
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import Refused
from agentsessions.kube.paths import CONTROLLER_REVISIONS, CORE_EVENTS, PODS, POOLS, STATEFUL_SETS
from agentsessions.policies.facts import pod_facts
from agentsessions.policies.hosts import HostFacts, host_facts
from agentsessions.policies.startup import Diagnosis, PodWarning, diagnose, needs_events
from agentsessions.reconcile.longrunning.driver import LongRunning
from agentsessions.reconcile.observe import read_template
from agentsessions.reconcile.pools.model import PoolSeen
from agentsessions.reconcile.pools.rollout import template_hash, way_back


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
    views = lasting.streams.hosts()
    told = {view.address.uid for view in views if view.heard}
    untold = {host.uid for host in hosts} - told
    stateful_set = await kube.get(STATEFUL_SETS, key[0], stem(pool))
    return PoolSeen(
        pool=pool,
        template=template,
        template_name=name,
        template_problem=problem,
        stateful_set=stateful_set,
        hosts=tuple(hosts),
        loads=lasting.occupancy.loads("", pool.key, hosts, views),
        capacities=_capacities(hosts, views),
        heard=frozenset(view.address.pod for view in views if view.connected and view.heard),
        silent=frozenset(host.uid for host in hosts if host.ready and not host.deleting and host.uid in untold),
        # Hosts that this operator has not heard may have told the one before it, which wrote it down.
        not_durable=_not_durable(hosts, views) + lasting.occupancy.unstored(pool.key, untold),
        waiting=len(lasting.occupancy.waiting(*pool.key)),
        trouble=await _trouble(owned, kube, key[0], now),
        written=written,
        good=await _good(pool, stateful_set, way_back(pool.status.rollout, now), kube),
    )


async def _good(pool: AgentPool, stateful_set: Json | None, wanted: str | None, kube: Kube) -> Json | None:
    """Return the pod template with that hash, to go back to: the present one, else from the set's history."""
    if wanted is None or stateful_set is None:
        return None
    present = _bare(stateful_set.get("spec", {}).get("template", {}))
    if template_hash(present) == wanted:
        return present
    templates = [
        _bare(one["data"]["spec"]["template"]) for one in await _history(pool, kube) if _is_of(one, stateful_set)
    ]
    return next((one for one in templates if template_hash(one) == wanted), None)


async def _history(pool: AgentPool, kube: Kube) -> Sequence[Json]:
    """Return the revisions that bear the pool's label; without the right to see them there is nothing to go back to."""
    namespace, selector = pool.metadata.namespace, f"{LABEL_POOL_UID}={pool.metadata.uid}"
    try:
        return await kube.list(CONTROLLER_REVISIONS, namespace, labelSelector=selector)
    except Refused as error:
        logs.warning("former settings not read", namespace=namespace, name=pool.metadata.name, error=error.message)
        return ()


def _is_of(revision: Json, stateful_set: Json) -> bool:
    """Return whether a revision is in the StatefulSet's own history; labels are anybody's to set."""
    owners = revision["metadata"].get("ownerReferences", [])
    return any(one.get("controller") and one["uid"] == stateful_set["metadata"]["uid"] for one in owners)


def _bare(template: Json) -> Json:
    """Return a pod template without what only the history of StatefulSets, or the API server, adds to it."""
    metadata = {name: value for name, value in template.get("metadata", {}).items() if value is not None}
    return {"metadata": metadata, "spec": template.get("spec", {})}


def _capacities(hosts: Iterable[HostFacts], views: Iterable[HostView]) -> dict[str, int]:
    """Return how many sessions each host that told of it holds at most."""
    told = {view.address.uid: view.capacity for view in views if view.heard}
    return {host.name: told[host.uid] for host in hosts if host.uid in told}


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
