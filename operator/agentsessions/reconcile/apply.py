"""Carries out a plan's actions against the API server, in order; the first that fails ends the pass."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from agentsessions import logs, metrics
from agentsessions.api.base import Json
from agentsessions.api.names import FIELD_MANAGER
from agentsessions.api.session import ObjectMeta
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import AlreadyExists, Conflict, NotFound, Refused
from agentsessions.kube.paths import BUDGETS, NETWORK_POLICIES, PODS, SESSIONS, kind_of
from agentsessions.policies.facts import pod_facts
from agentsessions.reconcile.model import (
    Action,
    DeletePod,
    DeleteSession,
    Ensure,
    MarkPod,
    SetFinalizers,
    StartOwner,
    StartPod,
)

_TURNS: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
"""Whose turn it is to look for a shared object, by namespace and name; gone when nobody waits."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of the actions: the uid of a pod that was started; why the API server would not have one of them.

    `pod_in_the_way` is the name of a pod that is not the session's own. `expired`: the session was deleted.
    `overtaken`: a pod that was to be deleted as it was seen has changed since.
    """

    pod_uid: str | None = None
    refused: str = ""
    pod_in_the_way: str = ""
    expired: bool = False
    overtaken: bool = False


async def apply(actions: tuple[Action, ...], kube: Kube) -> Applied:
    """Carry out the actions; raises KubeError for what a later pass must try again.

    What guards a pod that is there is not waited for by the rest if it is refused; no pod is started without.
    """
    outcome, starts = Applied(), any(isinstance(action, StartPod | StartOwner) for action in actions)
    for action in actions:
        try:
            outcome = await _one(action, kube) or outcome
        except Refused as error:
            outcome = replace(outcome, refused=outcome.refused or error.message)
            if starts or not isinstance(action, Ensure | MarkPod):
                return outcome
        if outcome.pod_in_the_way or outcome.overtaken:
            return outcome
    return outcome


async def _one(action: Action, kube: Kube) -> Applied | None:
    """Carry out one action."""
    if isinstance(action, Ensure):
        await _ensure(action, kube)
    elif isinstance(action, StartPod):
        return await _start(action, kube)
    elif isinstance(action, DeletePod):
        return await _delete_pod(action, kube)
    elif isinstance(action, MarkPod):
        await _mark_pod(action, kube)
    elif isinstance(action, StartOwner):
        await _start_owner(action, kube)
    elif isinstance(action, SetFinalizers):
        await set_finalizers(action.session.metadata, action.finalizers, kube)
    else:
        return await _delete_session(action, kube)
    return None


async def _ensure(action: Ensure, kube: Kube) -> None:
    """Make sure of an object; what is looked for first is looked for by one session at a time.

    Otherwise many sessions that start at once would all find the policy missing, and all try to make it.
    """
    meta = action.manifest["metadata"]
    if not action.look:
        await _make(action, kube)
        return
    async with _TURNS.setdefault((meta["namespace"], meta["name"]), asyncio.Lock()):
        await _make(action, kube)


async def _make(action: Ensure, kube: Kube) -> None:
    """Create what is missing, and set right a policy or a budget that somebody changed."""
    kind, meta = kind_of(action.manifest), action.manifest["metadata"]
    if action.look:
        present = await kube.get(kind, meta["namespace"], meta["name"])
        if present is not None and not _drifted(present, action.manifest):
            return
        if present is not None:
            await kube.apply(kind, action.manifest)
            return
    try:
        await kube.create(kind, action.manifest)
    except AlreadyExists:
        return  # made by an earlier pass that was cut short, or by a neighbour; its name stands for its content


def _drifted(present: Json, wanted: Json) -> bool:
    """Return whether a shared policy or budget no longer says what its name stands for; other kinds are left alone."""
    kind, spec = kind_of(wanted), present.get("spec", {})
    if kind is NETWORK_POLICIES:
        return bool({"ingress": [], **spec} != wanted["spec"])
    return kind is BUDGETS and bool(spec != wanted["spec"])


async def _start(action: StartPod, kube: Kube) -> Applied:
    """Create the attempt's pod, or find that an earlier pass has, or that something else bears its name."""
    meta = action.manifest["metadata"]
    try:
        pod = await kube.create(PODS, action.manifest)
    except AlreadyExists:
        present = await kube.get(PODS, meta["namespace"], meta["name"])
        if present is None:
            raise  # it went away at this moment: try again
        if pod_facts(present).owner_uid != meta["ownerReferences"][0]["uid"]:
            return Applied(pod_in_the_way=meta["name"])
        pod = present
    return Applied(pod_uid=pod["metadata"]["uid"])


async def _start_owner(action: StartOwner, kube: Kube) -> None:
    """Create the pod and its Secret; of one that is there already nothing is known, and nothing is changed."""
    try:
        pod = await kube.create(PODS, action.pod)
    except AlreadyExists:
        return
    meta = action.secret["metadata"]
    owners = [{**meta["ownerReferences"][0], "uid": pod["metadata"]["uid"]}]
    await _make(Ensure({**action.secret, "metadata": {**meta, "ownerReferences": owners}}), kube)


async def _delete_pod(action: DeletePod, kube: Kube) -> Applied | None:
    """Delete exactly the pod that was seen."""
    version = {"resourceVersion": action.pod.resource_version} if action.unchanged else {}
    try:
        await kube.delete(PODS, action.namespace, action.pod.name, grace=action.grace, uid=action.pod.uid, **version)
    except Conflict:
        # It changed or was replaced meanwhile; its next event brings us back.
        return Applied(overtaken=True) if action.unchanged else None
    return None


async def _mark_pod(action: MarkPod, kube: Kube) -> None:
    """Patch labels and annotations of exactly the pod that was seen, and nothing else."""
    meta = {"uid": action.pod.uid, "labels": action.labels, "annotations": action.annotations}
    try:
        await kube.merge(PODS, action.namespace, action.pod.name, {"metadata": meta}, manager=FIELD_MANAGER)
    except (Conflict, NotFound):
        return  # it was replaced, or is gone; its next event brings us back


async def set_finalizers(meta: ObjectMeta, finalizers: Sequence[str], kube: Kube) -> None:
    """Patch a session's finalizers and nothing else. Raises Conflict if anybody has changed it meanwhile."""
    wanted = {"uid": meta.uid, "resourceVersion": meta.resource_version, "finalizers": list(finalizers)}
    await kube.merge(SESSIONS, meta.namespace, meta.name, {"metadata": wanted}, manager=FIELD_MANAGER)


async def _delete_session(action: DeleteSession, kube: Kube) -> Applied | None:
    """Delete a session whose time to live is over, if it is as it was seen."""
    meta = action.session.metadata
    try:
        await kube.delete(SESSIONS, meta.namespace, meta.name, uid=meta.uid, resourceVersion=meta.resource_version)
    except Conflict:
        return None  # somebody is at it; look again at its next event
    logs.info("session deleted, its time to live is over", namespace=meta.namespace, name=meta.name, uid=meta.uid)
    metrics.expired.labels("finished" if action.session.status.completion_time else "idle").inc()
    return Applied(expired=True)
