"""Agents of deleted sessions: whoever deletes a session does not want its turn to go on.

The garbage collector deletes their pods with all of their grace, as a drain does, in which an agent may work on. A
container cannot tell one from the other, and a kubelet does not shorten a grace that runs
(https://github.com/kubernetes/kubernetes/issues/83916). So the agent is asked to end its turn, as by a client.
"""

from datetime import timedelta
from typing import Protocol

from agentsessions import logs
from agentsessions.api.base import Json
from agentsessions.api.names import LABEL_HOST, LABEL_SESSION, LABEL_SESSION_UID, pod_name
from agentsessions.api.session import AgentSession
from agentsessions.hosts.client import HostAddress
from agentsessions.hosts.errors import HostError
from agentsessions.kube.client import Kube
from agentsessions.kube.paths import PODS
from agentsessions.policies.deadline import LAST_SECONDS
from agentsessions.policies.facts import PodFacts, pod_facts

AGAIN = timedelta(seconds=10)
"""After which an agent is asked once more that is still there."""
_FOREGROUND = "foregroundDeletion"


class Agents(Protocol):
    """How agents are reached."""

    async def interrupt(self, host: HostAddress, session_id: str) -> None:
        """Have a turn end. Raises HostError."""


def is_going(session: AgentSession) -> bool:
    """Return whether the session waits for the garbage collector to take its pods first.

    One with another finalizer may be waiting to leave its pods behind (`--cascade=orphan`).
    """
    return session.metadata.deletion_timestamp is not None and _FOREGROUND in session.metadata.finalizers


async def hasten(key: tuple[str, str], kube: Kube, agents: Agents | None, uid: str | None = None) -> timedelta | None:
    """Ask agents to end whose session of that name, and uid if one is given, is gone or going, and its pod deleted.

    Returns when to ask again, if there is one. Where nobody may call agents, their grace is all there is.
    """
    if agents is None:
        return None
    namespace, name = key
    found = [
        (body, pod_facts(body)) for body in await kube.list(PODS, namespace, labelSelector=f"{LABEL_SESSION}={name}")
    ]
    lingering = [
        (body, pod) for body, pod in found if _is_of(body, pod, name) and uid in (None, pod.owner_uid) and _lingers(pod)
    ]
    for body, pod in lingering:
        await _interrupt(HostAddress(pod.name, pod.uid, body["status"].get("podIP", "")), pod.owner_uid, agents)
    return AGAIN if lingering else None


async def _interrupt(agent: HostAddress, session_id: str, agents: Agents) -> None:
    """Have an agent's turn end; one that has none, or does not answer, comes to its end by itself."""
    try:
        if agent.ip:
            await agents.interrupt(agent, session_id)
    except HostError as error:
        logs.info("agent of a deleted session not interrupted", pod=agent.pod, session=session_id, error=error.slug)


def _is_of(body: Json, pod: PodFacts, name: str) -> bool:
    """Return whether the pod is an attempt of that session, as its name proves; labels are anybody's to edit."""
    labels = body["metadata"]["labels"]
    is_ours = labels.get(LABEL_SESSION_UID) == pod.owner_uid != ""
    return is_ours and LABEL_HOST not in labels and pod.name == pod_name(name, pod.owner_uid, pod.attempt)


def _lingers(pod: PodFacts) -> bool:
    """Return whether its agent, told to stop, may go on for longer than it needs to end.

    One that nobody has told to stop is not ours to judge: who takes a session for gone by mistake ends nothing here.
    """
    return pod.deleting and pod.grace > LAST_SECONDS and not pod.is_terminal
