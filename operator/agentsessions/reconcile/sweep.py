"""Removes what has no owner to be collected with, once nobody needs it: shared NetworkPolicies, and cleanup pods.

The API server is asked, not a cache: absence from a cache is no reason to delete.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from agentsessions import logs
from agentsessions.api.base import Json
from agentsessions.api.names import (
    CLEANUP_SELECTOR,
    LABEL_NETWORK_POLICY,
    LABEL_SESSION,
    LABEL_SESSION_UID,
    POLICY_SELECTOR,
    cleanup_name,
    network_policy_name,
)
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import Conflict, Refused
from agentsessions.kube.paths import CONTROLLER_REVISIONS, NETWORK_POLICIES, PODS, SESSIONS, Kind

QUIET = timedelta(minutes=10)
"""What is younger than this may belong to a session that is just starting."""


async def sweep(kube: Kube, namespaces: Sequence[str], now: datetime) -> None:
    """Delete every old policy of ours that selects no pod, and every old cleanup pod whose session is gone."""
    for namespace in namespaces or (None,):
        for policy in await kube.list(NETWORK_POLICIES, namespace, labelSelector=POLICY_SELECTOR):
            if _is_old(policy, now) and await _is_unused(policy, kube):
                await _remove(NETWORK_POLICIES, policy, kube)  # the next start makes it anew
        for pod in await kube.list(PODS, namespace, labelSelector=CLEANUP_SELECTOR):
            if _is_old(pod, now) and await _is_orphan(pod, kube):
                await _remove(PODS, pod, kube)


def _is_old(body: Json, now: datetime) -> bool:
    """Return whether the object has stood for a while."""
    return now - datetime.fromisoformat(body["metadata"]["creationTimestamp"]) > QUIET


async def _is_unused(policy: Json, kube: Kube) -> bool:
    """Return whether a policy is ours, as its name proves, and no pod is under it.

    Nor may one be if a pool's hosts got former settings back.
    """
    meta = policy["metadata"]
    key = meta["labels"].get(LABEL_NETWORK_POLICY, "")
    if meta["name"] != network_policy_name(key):
        return False  # somebody has copied one of ours, labels and all
    selector = f"{LABEL_NETWORK_POLICY}={key}"
    if await kube.list(PODS, meta["namespace"], metadata_only=True, labelSelector=selector):
        return False
    try:  # a revision bears the labels of its pods
        return not await kube.list(CONTROLLER_REVISIONS, meta["namespace"], metadata_only=True, labelSelector=selector)
    except Refused as error:
        logs.warning("policy kept", namespace=meta["namespace"], name=meta["name"], error=error.message)
        return False


async def _is_orphan(pod: Json, kube: Kube) -> bool:
    """Return whether a cleanup pod is ours, as its name proves, and the session that it was made for is gone."""
    meta = pod["metadata"]
    name, uid = (meta["labels"].get(label, "") for label in (LABEL_SESSION, LABEL_SESSION_UID))
    if meta["name"] != cleanup_name(name, uid):
        return False
    session = await kube.get(SESSIONS, meta["namespace"], name)
    return session is None or session["metadata"]["uid"] != uid


async def _remove(kind: Kind, body: Json, kube: Kube) -> None:
    """Delete exactly the object that was seen; a pod that is made just now gets its policy back on its next pass."""
    meta = body["metadata"]
    try:
        await kube.delete(kind, meta["namespace"], meta["name"], uid=meta["uid"])
    except Conflict:
        return
    logs.info("removed what nobody needs any more", namespace=meta["namespace"], kind=kind.plural, name=meta["name"])
