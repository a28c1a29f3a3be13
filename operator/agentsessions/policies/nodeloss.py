"""When a pod that is to be deleted is taken to be lost with its node, whose kubelet would confirm its end."""

from datetime import datetime, timedelta
from typing import Protocol

from agentsessions.api.base import Json

MARGIN = timedelta(seconds=30)
"""How long after its grace period a pod may still be there; a kubelet that works needs a few seconds."""

_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class Deleted(Protocol):
    """A pod, as far as its deletion goes."""

    @property
    def gone_by(self) -> datetime | None:
        """When the grace period of its deletion is over; None if nobody deletes it."""


def is_lost(pod: Deleted, now: datetime) -> bool:
    """Return whether nobody can be expected any more to say that the pod has ended."""
    return pod.gone_by is not None and now >= pod.gone_by + MARGIN


def tolerations(given: list[Json], seconds: int | None) -> list[Json]:
    """Return tolerations with those by which a pod is given up `seconds` after its node was lost.

    What the user says of these taints holds; None leaves it to the cluster (five minutes by default).
    """
    known = {one.get("key") for one in given if one.get("effect") in (None, "", "NoExecute")}
    if seconds is None or None in known:
        return given
    missing = [key for key in _TAINTS if key not in known]
    return given + [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds} for key in missing
    ]
