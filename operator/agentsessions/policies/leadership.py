"""Who leads, by a Lease; pure. No two clocks are compared: each replica measures, on its own monotonic clock,

how long ago it saw the Lease change (as client-go's leader election does).
"""

from dataclasses import dataclass, replace

from agentsessions.api.base import Json
from agentsessions.api.config import LeaderElection


@dataclass(frozen=True, slots=True)
class Sight:
    """A Lease as it was last seen to change. `at`: monotonic seconds; `holder` is empty when it was let go of."""

    holder: str = ""
    version: str = ""
    transitions: int = 0
    lasts: float = 0.0
    at: float = 0.0

    def is_free_for(self, identity: str, now: float) -> bool:
        """Return whether a replica may take it: it is nobody's, its holder is silent or dead, or it is its own."""
        return not self.holder or _pod(self.holder) == _pod(identity) or now - self.at >= self.lasts


def _pod(identity: str) -> str:
    """Return the pod of a replica. A container is started only when the one before it, in the same pod, has ended:

    another identity of one's own pod is a former life, which writes nothing any more.
    """
    return identity.partition("_")[0]


def seen(lease: Json, before: Sight, now: float) -> Sight:
    """Return the sight of a Lease as the API server has it now; one that did not change is as old as before."""
    version = str(lease["metadata"]["resourceVersion"])
    if version == before.version:
        return before
    spec = lease.get("spec") or {}
    return Sight(
        holder=spec.get("holderIdentity") or "",
        version=version,
        transitions=int(spec.get("leaseTransitions") or 0),
        lasts=float(spec.get("leaseDurationSeconds") or 0),
        at=now,
    )


def gone(before: Sight, now: float) -> Sight:
    """Return the sight of a Lease that is not there. If it was, whoever had it leads on for as long as it said."""
    if not before.holder:
        return Sight()
    return before if not before.version else replace(before, version="", at=now)


def claim(sight: Sight, identity: str, settings: LeaderElection, time: str) -> Json:
    """Return the `spec` that takes the Lease, or renews it; `time` (RFC 3339, microseconds) is for people to read."""
    spec: Json = {
        "holderIdentity": identity,
        "leaseDurationSeconds": settings.lease_seconds,
        "renewTime": time,
    }
    if sight.holder == identity:
        return spec
    return spec | {"acquireTime": time, "leaseTransitions": sight.transitions + (1 if sight.version else 0)}


def release() -> Json:
    """Return the `spec` by which a holder lets go, so that nobody has to wait for its silence."""
    return {"holderIdentity": "", "leaseDurationSeconds": 1}
