"""A session that the operator cannot read, since the CRD is of another version: left alone, and not held for ever."""

from datetime import datetime, timedelta

from agentsessions import logs
from agentsessions.api.base import Json
from agentsessions.api.names import FIELD_MANAGER, FINALIZER
from agentsessions.kube.client import Kube
from agentsessions.kube.paths import SESSIONS

PATIENCE = timedelta(minutes=10)
"""How long one that is being deleted waits for an operator that can read it, as after a rollback."""


async def let_go(key: tuple[str, str], kube: Kube, now: datetime) -> timedelta | None:
    """Take our finalizer off one that is being deleted and has waited; return when to look again. Raises KubeError.

    What is stored of it stays: where that is, stands in what cannot be read.
    """
    meta = ((await kube.get(SESSIONS, *key)) or {}).get("metadata", {})
    if "deletionTimestamp" not in meta or FINALIZER not in meta.get("finalizers", []):
        return None
    left = datetime.fromisoformat(meta["deletionTimestamp"]) + PATIENCE - now
    if left > timedelta():
        return left
    await kube.merge(SESSIONS, *key, {"metadata": _without(meta)}, manager=FIELD_MANAGER)
    logs.warning(
        "session let go that cannot be read: what is stored of it stays",
        namespace=key[0],
        name=key[1],
        uid=meta["uid"],
    )
    return None


def _without(meta: Json) -> Json:
    """Return the metadata to write, if nobody has changed the session meanwhile."""
    others = [one for one in meta["finalizers"] if one != FINALIZER]
    return {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"], "finalizers": others}
