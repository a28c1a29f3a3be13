"""What the operator needs to know of a host pod, taken from its JSON; pure."""

from dataclasses import dataclass
from datetime import datetime

from agentsessions.api.base import Json
from agentsessions.api.names import ANNOTATION_IMAGE, ANNOTATION_TEMPLATE_HASH, CONTAINER
from agentsessions.policies.facts import TERMINAL, Ended, container_state, ends, parse_time


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One host pod. `ready` is what its readiness probe says; a pod that is being deleted drains.

    `ends` counts how often its container has ended, `last_end` is how it did last; `stands`: it has ended, and the
    kubelet has not said yet whether it starts again. `terminal`: the pod will not run again.
    `image` is what it was made with, by its own word, else what its container has. `unready_since` is when its
    readiness last changed, or when it was made.
    """

    name: str
    uid: str
    ip: str = ""
    node: str | None = None
    ready: bool = False
    deleting: bool = False
    gone_by: datetime | None = None
    template_hash: str = ""
    owner_uid: str = ""
    ends: int = 0
    last_end: Ended | None = None
    stands: bool = False
    terminal: bool = False
    image: str = ""
    unready_since: datetime | None = None
    created: datetime | None = None

    @property
    def ordinal(self) -> int:
        """The number that the StatefulSet gave the pod, -1 if it has none."""
        tail = self.name.rpartition("-")[2]
        return int(tail) if tail.isdecimal() else -1


def host_facts(pod: Json) -> HostFacts:
    """Return the facts of one host pod as the API server describes it."""
    meta, status = pod["metadata"], pod.get("status", {})
    readiness: Json = next((c for c in status.get("conditions", []) if c["type"] == "Ready"), {})
    owners = meta.get("ownerReferences", [])
    times, last_end = ends(status)
    return HostFacts(
        name=meta["name"],
        uid=meta["uid"],
        ip=status.get("podIP", ""),
        node=pod.get("spec", {}).get("nodeName"),
        ready=readiness.get("status") == "True" and bool(status.get("podIP")),
        deleting="deletionTimestamp" in meta,
        gone_by=parse_time(meta.get("deletionTimestamp")),
        template_hash=meta.get("annotations", {}).get(ANNOTATION_TEMPLATE_HASH, ""),
        owner_uid=next((str(o["uid"]) for o in owners if o.get("controller")), ""),
        ends=times,
        last_end=last_end,
        stands="terminated" in container_state(status),
        terminal=status.get("phase") in TERMINAL,
        image=meta.get("annotations", {}).get(ANNOTATION_IMAGE) or _image(pod.get("spec", {})),
        unready_since=parse_time(readiness.get("lastTransitionTime") or meta.get("creationTimestamp")),
        created=parse_time(meta.get("creationTimestamp")),
    )


def _image(spec: Json) -> str:
    """Return the image of the agent's container."""
    return next((str(one.get("image", "")) for one in spec.get("containers", []) if one["name"] == CONTAINER), "")
