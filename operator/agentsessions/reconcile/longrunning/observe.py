"""Reads what is around a LongRunning session: pool, template and host pods live, loads and news from memory."""

from datetime import datetime

from pydantic import ValidationError

from agentsessions.api.names import LABEL_POOL_UID
from agentsessions.api.pool import DEFAULT_SESSIONS_PER_HOST, AgentPool
from agentsessions.api.session import AgentSession
from agentsessions.hosts.streams import HostStreams
from agentsessions.kube.client import Kube
from agentsessions.kube.paths import PODS, POOLS
from agentsessions.policies.hosts import HostFacts, host_facts
from agentsessions.reconcile.longrunning.model import Around
from agentsessions.reconcile.longrunning.occupancy import Occupancy, capacities
from agentsessions.reconcile.observe import read_template


async def observe(
    session: AgentSession,
    kube: Kube,
    streams: HostStreams,
    occupancy: Occupancy,
    written: datetime | None,
    now: datetime,
) -> Around:
    """Return what is known around the session."""
    name = session.spec.pool_ref.name if session.spec.pool_ref else ""
    pool = await _pool(session.metadata.namespace, name, kube)
    if pool is None:
        return Around(session, pool_name=name)
    template_name, template, problem = await read_template(pool.metadata.namespace, pool.spec.template_ref, kube)
    hosts = await _hosts(pool, kube)
    views = {view.address.uid: view for view in streams.hosts()}
    mine = views.get((session.status.host.pod_uid or "") if session.status.host else "")
    per_host = pool.status.capacity.sessions_per_host if pool.status.capacity else 0
    draining = {uid for uid, view in views.items() if view.draining}
    return Around(
        session=session,
        pool=pool,
        pool_name=name,
        template=template,
        template_name=template_name,
        template_problem=problem,
        hosts=tuple(hosts),
        loads=occupancy.loads(session.metadata.uid, pool.key, hosts, views.values()),
        capacity=capacities(hosts, views, per_host or pool.spec.sessions_per_host or DEFAULT_SESSIONS_PER_HOST),
        not_now=occupancy.full(now) | draining,
        news=mine.session(session.metadata.uid) if mine else None,
        heard=mine is not None and mine.connected and mine.heard,
        written=written,
    )


async def _pool(namespace: str, name: str, kube: Kube) -> AgentPool | None:
    """Return the pool, or None if there is none that this operator can read; its own status says what is wrong."""
    raw = await kube.get(POOLS, namespace, name)
    if raw is None:
        return None
    try:
        return AgentPool.model_validate(raw)
    except ValidationError:
        return None


async def _hosts(pool: AgentPool, kube: Kube) -> list[HostFacts]:
    """Return the pool's host pods; a pod that nothing controls only bears the label."""
    selector = f"{LABEL_POOL_UID}={pool.metadata.uid}"
    found = [host_facts(pod) for pod in await kube.list(PODS, pool.metadata.namespace, labelSelector=selector)]
    return sorted((host for host in found if host.owner_uid), key=lambda host: host.name)
