"""Reads what is around a session that lasts: pool, template and pods live, loads and news from memory."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import ValidationError

from agentsessions.api.base import Json
from agentsessions.api.names import CLEANUP_SELECTOR, LABEL_POOL_UID, LABEL_SESSION_UID, cleanup_name
from agentsessions.api.pool import DEFAULT_SESSIONS_PER_HOST, AgentPool
from agentsessions.api.session import AgentSession
from agentsessions.api.status import Host
from agentsessions.hosts.streams import HostStreams
from agentsessions.hosts.views import HostView
from agentsessions.kube.client import Kube
from agentsessions.kube.paths import CORE_EVENTS, PODS, POOLS, SESSIONS
from agentsessions.policies.facts import PodFacts, pod_facts
from agentsessions.policies.hosts import HostFacts, host_facts
from agentsessions.policies.outcome import as_evicted, ended_silently
from agentsessions.policies.startup import PodWarning
from agentsessions.reconcile.longrunning.model import Around
from agentsessions.reconcile.longrunning.occupancy import Occupancy, capacities
from agentsessions.reconcile.longrunning.restarts import tells_of
from agentsessions.reconcile.observe import DeletedPods, last_words, noted_by_node, read_template, warnings


async def observe(
    session: AgentSession,
    kube: Kube,
    streams: HostStreams,
    occupancy: Occupancy,
    deleted: DeletedPods,
    written: datetime | None,
    now: datetime,
) -> Around:
    """Return what is known around the session."""
    if session.spec.pool_ref is None:
        return await _alone(session, kube, streams, deleted, written, now)
    name = session.spec.pool_ref.name
    pool = await _pool(session.metadata.namespace, name, kube)
    if pool is None:
        return Around(session, pool_name=name)
    template_name, template, problem = await read_template(pool.metadata.namespace, pool.spec.template_ref, kube)
    bodies = await _hosts(pool, kube)
    hosts = [host_facts(body) for body in bodies]
    at = (session.status.host.pod_uid if session.status.host is not None else None) or ""
    views = {view.address.uid: view for view in streams.hosts()}
    mine = _view(session, streams)
    fork_from, fork_problem = await _fork_source(session, kube)
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
        drains=mine is not None and mine.draining,
        written=written,
        fork_from=fork_from,
        fork_problem=fork_problem,
        host_pod=next(iter(await _as_told([body for body in bodies if body["metadata"]["uid"] == at], kube)), None)
        or await _last_words(session, hosts, deleted, kube),
        given_up=occupancy.is_given_up(at),
        killings=await _killings(session, hosts, kube),
    )


async def cleanup(session: AgentSession, kube: Kube, now: datetime) -> tuple[PodFacts | None, tuple[PodWarning, ...]]:
    """Return the pod that removes what the session has stored, if there is one, and what keeps it from starting."""
    meta = session.metadata
    selector = f"{CLEANUP_SELECTOR},{LABEL_SESSION_UID}={meta.uid}"
    found = [pod_facts(body) for body in await kube.list(PODS, meta.namespace, labelSelector=selector)]
    pod = next((one for one in found if one.name == cleanup_name(meta.name, meta.uid)), None)
    complaints = await warnings(session, [pod], pod.attempt, kube, now) if pod is not None else []
    return pod, tuple(complaints)


async def _alone(
    session: AgentSession,
    kube: Kube,
    streams: HostStreams,
    deleted: DeletedPods,
    written: datetime | None,
    now: datetime,
) -> Around:
    """Return what is known around a session that has no pool: its own pods are its hosts."""
    meta = session.metadata
    template_name, template, problem = await read_template(meta.namespace, session.spec.template_ref, kube)
    selector = f"{LABEL_SESSION_UID}={meta.uid}"
    bodies = await kube.list(PODS, meta.namespace, labelSelector=selector)
    own = [body for body in bodies if host_facts(body).owner_uid == meta.uid]
    pods, hosts = await _as_told(own, kube), tuple(host_facts(body) for body in own)
    mine = _view(session, streams)
    fork_from, fork_problem = await _fork_source(session, kube)
    return Around(
        session=session,
        template=template,
        template_name=template_name,
        template_problem=problem,
        hosts=hosts,
        news=mine.session(meta.uid) if mine else None,
        heard=mine is not None and mine.connected and mine.heard,
        drains=mine is not None and mine.draining,
        written=written,
        pods=tuple(pods),
        warnings=tuple(await warnings(session, pods, session.status.wakes, kube, now)),
        fork_from=fork_from,
        fork_problem=fork_problem,
        host_pod=await _last_words(session, hosts, deleted, kube),
        killings=await _killings(session, hosts, kube),
    )


async def _killings(session: AgentSession, hosts: Sequence[HostFacts], kube: Kube) -> tuple[PodWarning, ...]:
    """Return why the node has stopped containers of the session's host; asked while an end is not told."""
    host = session.status.host
    pod = next((one for one in hosts if host is not None and one.uid == host.pod_uid), None)
    if host is None or pod is None or host.terminations is None or pod.ends <= host.terminations:
        return ()
    selector = f"involvedObject.uid={pod.uid},reason=Killing"
    return noted_by_node(await kube.list(CORE_EVENTS, session.metadata.namespace, fieldSelector=selector))


async def _last_words(
    session: AgentSession, there: Sequence[HostFacts], deleted: DeletedPods, kube: Kube
) -> PodFacts | None:
    """Return the pod of the session's host as it was when it ended, if it is not there any more and that is known."""
    host = session.status.host
    if host is None or host.pod_uid is None or any(one.uid == host.pod_uid for one in there):
        return None
    if _is_worth_asking(session, host):
        pod = await last_words(session, host, kube, deleted)
    else:
        pod = deleted.recall(host.pod_uid)
    return await _with_eviction(pod, session.metadata.namespace, kube) if pod is not None else None


def _is_worth_asking(session: AgentSession, host: Host) -> bool:
    """Return whether status would tell how the session's host ended, and does not yet: of pools, where it ran."""
    status, meta = session.status, session.metadata
    ran = status.start_time is not None or session.spec.pool_ref is None
    return ran and meta.deletion_timestamp is None and not tells_of(status.last_termination, host)


async def _as_told(bodies: Sequence[Json], kube: Kube) -> list[PodFacts]:
    """Return the facts of pods; of those whose status does not say what ended them, with their node's events."""
    return [await _with_eviction(pod_facts(body), body["metadata"]["namespace"], kube) for body in bodies]


async def _with_eviction(pod: PodFacts, namespace: str, kube: Kube) -> PodFacts:
    """Return the facts of a pod with its eviction, if only its node's events tell of that."""
    if not ended_silently(pod):
        return pod
    selector = f"involvedObject.uid={pod.uid},reason=Evicted"
    return as_evicted(pod, noted_by_node(await kube.list(CORE_EVENTS, namespace, fieldSelector=selector)))


def _view(session: AgentSession, streams: HostStreams) -> HostView | None:
    """Return what the session's host has told."""
    host = session.status.host
    return streams.host(host.pod_uid or "") if host is not None else None


async def _fork_source(session: AgentSession, kube: Kube) -> tuple[str | None, str]:
    """Return the uid of the session to begin with a copy of, and what is wrong with it; only before the first turn."""
    reference, status = session.spec.fork_from, session.status
    if reference is None or status.transcript is not None:
        return None, ""
    raw = await kube.get(SESSIONS, session.metadata.namespace, reference.name)
    if raw is None:
        return None, f"Session '{reference.name}' (`forkFrom.name`) does not exist in this namespace."
    if raw["spec"].get("pattern") == "Ephemeral" or raw["metadata"]["uid"] == session.metadata.uid:
        return None, f"`forkFrom.name`: '{reference.name}' is no other Hybrid or LongRunning session."
    return str(raw["metadata"]["uid"]), ""


async def _pool(namespace: str, name: str, kube: Kube) -> AgentPool | None:
    """Return the pool, or None if there is none that this operator can read; its own status says what is wrong."""
    raw = await kube.get(POOLS, namespace, name)
    if raw is None:
        return None
    try:
        return AgentPool.model_validate(raw)
    except ValidationError:
        return None


async def _hosts(pool: AgentPool, kube: Kube) -> list[Json]:
    """Return the pool's host pods; a pod that nothing controls only bears the label."""
    selector = f"{LABEL_POOL_UID}={pool.metadata.uid}"
    found = await kube.list(PODS, pool.metadata.namespace, labelSelector=selector)
    return sorted((pod for pod in found if host_facts(pod).owner_uid), key=lambda pod: str(pod["metadata"]["name"]))
