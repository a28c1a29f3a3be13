"""Pods of Ephemeral sessions that were deleted: whoever deletes a session does not want its turn to go on.

The garbage collector deletes them with all of their grace, as a drain does, in which the agent may work on. A container
cannot tell one from the other, so that the grace itself is shortened.
"""

from agentsessions.api.base import Json
from agentsessions.api.names import LABEL_HOST, LABEL_SESSION, LABEL_SESSION_UID, pod_name
from agentsessions.api.session import AgentSession
from agentsessions.kube.client import Kube
from agentsessions.kube.paths import PODS
from agentsessions.policies.deadline import LAST_SECONDS
from agentsessions.policies.facts import PodFacts, pod_facts
from agentsessions.reconcile.apply import delete_pod
from agentsessions.reconcile.model import DeletePod

_FOREGROUND = "foregroundDeletion"


def is_going(session: AgentSession) -> bool:
    """Return whether the session waits for the garbage collector to take its pods first.

    One with another finalizer may be waiting to leave its pods behind (`--cascade=orphan`).
    """
    return session.metadata.deletion_timestamp is not None and _FOREGROUND in session.metadata.finalizers


async def hasten(key: tuple[str, str], kube: Kube, uid: str | None = None) -> None:
    """Shorten the grace of deleted pods whose session of that name, and uid if one is given, is gone or going."""
    namespace, name = key
    for body in await kube.list(PODS, namespace, labelSelector=f"{LABEL_SESSION}={name}"):
        pod = pod_facts(body)
        if _is_of(body, pod, name) and uid in (None, pod.owner_uid) and _lingers(pod):
            await delete_pod(DeletePod(pod, namespace, soon=True), kube)


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
