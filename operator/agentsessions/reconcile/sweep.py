"""Removes shared NetworkPolicies that nobody needs any more; they have no single owner to be collected with."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from agentsessions import logs
from agentsessions.api.base import Json
from agentsessions.api.names import LABEL_NETWORK_POLICY, POLICY_SELECTOR
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import Conflict
from agentsessions.kube.paths import NETWORK_POLICIES, PODS

QUIET = timedelta(minutes=10)
"""A policy younger than this may belong to a session that is just starting."""


async def sweep(kube: Kube, namespaces: Sequence[str], now: datetime) -> None:
    """Delete every policy of ours that is old and selects no pod; the next start makes it anew."""
    for namespace in namespaces or (None,):
        for policy in await kube.list(NETWORK_POLICIES, namespace, labelSelector=POLICY_SELECTOR):
            if _is_old(policy, now) and await _is_unused(policy, kube):
                await _remove(policy, kube)


def _is_old(policy: Json, now: datetime) -> bool:
    """Return whether the policy has stood for a while."""
    return now - datetime.fromisoformat(policy["metadata"]["creationTimestamp"]) > QUIET


async def _is_unused(policy: Json, kube: Kube) -> bool:
    """Ask the API server, not a cache: absence from a cache is no reason to delete."""
    meta = policy["metadata"]
    label = meta["labels"].get(LABEL_NETWORK_POLICY, "")
    return not await kube.list(PODS, meta["namespace"], labelSelector=f"{LABEL_NETWORK_POLICY}={label}")


async def _remove(policy: Json, kube: Kube) -> None:
    """Delete the policy as it was seen; a pod that is made at this moment gets it back on its next pass."""
    meta = policy["metadata"]
    try:
        await kube.delete(NETWORK_POLICIES, meta["namespace"], meta["name"], uid=meta["uid"])
    except Conflict:
        return
    logs.info("unused network policy removed", namespace=meta["namespace"], policy=meta["name"])
