"""Two chores over all hosts: follow those that live, and take from them the sessions that are none any more."""

from collections.abc import Sequence

from agentsessions.api.host import HostSession, Origin
from agentsessions.api.names import HOST_SELECTOR, OWN_HOST_SELECTOR
from agentsessions.hosts.client import HostAddress
from agentsessions.hosts.views import HostView
from agentsessions.kube.client import Kube
from agentsessions.kube.paths import PODS, SESSIONS
from agentsessions.policies.hosts import host_facts
from agentsessions.reconcile.longrunning.driver import LongRunning, address_of


async def follow_hosts(lasting: LongRunning, namespaces: Sequence[str]) -> None:
    """Follow every host pod that has an address. Raises KubeError."""
    lasting.streams.follow(await live_hosts(lasting.kube, namespaces))


async def live_hosts(kube: Kube, namespaces: Sequence[str]) -> list[HostAddress]:
    """Return where all hosts are."""
    found: list[HostAddress] = []
    for namespace in namespaces or (None,):
        for selector in (HOST_SELECTOR, OWN_HOST_SELECTOR):
            pods = [host_facts(pod) for pod in await kube.list(PODS, namespace, labelSelector=selector)]
            found += [address_of(pod) for pod in pods if pod.ip and pod.owner_uid]
    return found


async def clear_leftovers(lasting: LongRunning) -> None:
    """Take from every host the named sessions that the API server does not have there. Raises KubeError.

    The files of one that lives elsewhere are kept: they may be the only copy of its conversation.
    """
    for view in lasting.streams.hosts():
        for session_id in view.ids(Origin.NAMED):
            seat, told = lasting.occupancy.seat(session_id), view.sessions[session_id]
            if seat is None or seat.pod_uid != view.address.uid:
                await _clear(lasting, view, told)


async def _clear(lasting: LongRunning, view: HostView, told: HostSession) -> None:
    """Ask the API server about one session, live, and take it from the host if it does not belong there."""
    raw = await lasting.kube.get(SESSIONS, told.namespace, told.name)
    session_id = str(told.session_id)
    if raw is None or raw["metadata"]["uid"] != session_id:
        await lasting.release(view.address, session_id, archive=True)
    elif raw.get("status", {}).get("host", {}).get("podUID") != view.address.uid:
        await lasting.release(view.address, session_id, keep_files=True)
