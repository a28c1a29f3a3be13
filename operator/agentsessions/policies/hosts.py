"""What the operator needs to know of a host pod, taken from its JSON; pure."""

from dataclasses import dataclass
from datetime import datetime

from agentsessions.api.base import Json
from agentsessions.api.names import ANNOTATION_TEMPLATE_HASH, CONTAINER
from agentsessions.policies.facts import parse_time


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One host pod. `ready` is what its readiness probe says; a pod that is being deleted drains."""

    name: str
    uid: str
    ip: str = ""
    node: str | None = None
    ready: bool = False
    deleting: bool = False
    gone_by: datetime | None = None
    template_hash: str = ""
    restarts: int = 0
    owner_uid: str = ""

    @property
    def ordinal(self) -> int:
        """The number that the StatefulSet gave the pod, -1 if it has none."""
        tail = self.name.rpartition("-")[2]
        return int(tail) if tail.isdecimal() else -1


def host_facts(pod: Json) -> HostFacts:
    """Return the facts of one host pod as the API server describes it."""
    meta, status = pod["metadata"], pod.get("status", {})
    conditions = {c["type"]: c["status"] for c in status.get("conditions", [])}
    containers = status.get("containerStatuses", [])
    owners = meta.get("ownerReferences", [])
    return HostFacts(
        name=meta["name"],
        uid=meta["uid"],
        ip=status.get("podIP", ""),
        node=pod.get("spec", {}).get("nodeName"),
        ready=conditions.get("Ready") == "True" and bool(status.get("podIP")),
        deleting="deletionTimestamp" in meta,
        gone_by=parse_time(meta.get("deletionTimestamp")),
        template_hash=meta.get("annotations", {}).get(ANNOTATION_TEMPLATE_HASH, ""),
        restarts=next((int(c.get("restartCount", 0)) for c in containers if c["name"] == CONTAINER), 0),
        owner_uid=next((str(o["uid"]) for o in owners if o.get("controller")), ""),
    )
