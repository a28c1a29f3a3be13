"""A session that the operator cannot read, since the CRD is of another version: left alone, and not held for ever."""

from datetime import datetime, timedelta

from agentsessions import logs
from agentsessions.api.names import FINALIZER
from agentsessions.api.session import ObjectMeta
from agentsessions.kube.client import Kube
from agentsessions.reconcile.apply import set_finalizers

PATIENCE = timedelta(minutes=10)
"""How long one that is being deleted waits for an operator that can read it, as after a rollback."""


async def let_go(meta: ObjectMeta, kube: Kube, now: datetime) -> timedelta | None:
    """Take our finalizer off one that is being deleted and has waited; return when to look again. Raises KubeError.

    What is stored of it stays: where that is, stands in what cannot be read.
    """
    if meta.deletion_timestamp is None or FINALIZER not in meta.finalizers:
        return None
    left = meta.deletion_timestamp + PATIENCE - now
    if left > timedelta():
        return left
    await set_finalizers(meta, [one for one in meta.finalizers if one != FINALIZER], kube)
    logs.warning(
        "session let go that cannot be read: what is stored of it stays",
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
    )
    return None
