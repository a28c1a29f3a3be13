"""What sessions leave behind that nothing owns, made when a run begins, since only what is old is swept up."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from agentsessions.api.names import (
    CLEANUP,
    LABEL_ATTEMPT,
    LABEL_NETWORK_POLICY,
    LABEL_SESSION,
    LABEL_SESSION_UID,
    cleanup_name,
    common_labels,
)
from agentsessions.reconcile.sweep import QUIET
from e2e import manifests
from e2e.api import PODS, POLICIES, Json, Resource
from e2e.lab import Lab

_NOBODY = "00000000-0000-4000-8000-000000000000"
_COPY = "copied-by-somebody"
_NO_LABELS: Mapping[str, str] = MappingProxyType({})
_ELSEWHERE: Json = {"cidr": "192.0.2.0/24", "port": 443}
"""Where a session may go that its neighbour may not: they come under policies of their own."""


@dataclass(frozen=True)
class Leftovers:
    """A namespace with leftovers that nobody needs, and with `kept` ones, that only look so; each by kind and name."""

    lab: Lab
    stale: tuple[tuple[Resource, str], ...]
    kept: tuple[tuple[Resource, str], ...]
    made: float = field(default_factory=time.monotonic)

    def left(self, things: tuple[tuple[Resource, str], ...]) -> list[str]:
        """Return the names of those that are still there."""
        return [name for kind, name in things if self.lab.api.get(kind, self.lab.namespace, name) is not None]

    def grow_old(self) -> None:
        """Wait until they are old enough."""
        time.sleep(max(0.0, self.made + QUIET.total_seconds() + 1 - time.monotonic()))


def make(lab: Lab) -> Leftovers:
    """Make them: of each kind one that nobody needs, one that is needed, and a copy under another name."""
    over = lab.run("over")
    for pod in lab.pods(over):
        lab.gone_pod(pod)
    (policy,) = _policies(lab)
    needed = lab.run("needed", podRetentionPolicy="Retain", networkPolicy={"egress": [_ELSEWHERE]})
    (other,) = [one for one in _policies(lab) if one["metadata"]["name"] != policy["metadata"]["name"]]
    meta = {"name": _COPY, "namespace": lab.namespace, "labels": policy["metadata"]["labels"]}
    copied = {"apiVersion": POLICIES.version, "kind": "NetworkPolicy", "metadata": meta, "spec": policy["spec"]}
    lab.api.create(copied)
    under = {LABEL_NETWORK_POLICY: other["metadata"]["labels"][LABEL_NETWORK_POLICY]}
    own = _cleanup(lab, "needed", str(needed["metadata"]["uid"]), under=under)
    other_name = _cleanup(lab, "gone", _NOBODY, _COPY)
    gone = _cleanup(lab, "zz-gone", _NOBODY)  # the last that a sweep comes to
    return Leftovers(
        lab,
        stale=((POLICIES, _name(policy)), (PODS, gone)),
        kept=((POLICIES, _name(other)), (POLICIES, _COPY), (PODS, own), (PODS, other_name)),
    )


def _policies(lab: Lab) -> list[Json]:
    return lab.api.list(POLICIES, lab.namespace)


def _name(thing: Json) -> str:
    return str(thing["metadata"]["name"])


def _cleanup(lab: Lab, session: str, uid: str, name: str = "", under: Mapping[str, str] = _NO_LABELS) -> str:
    """Make a pod as one that clears a session's store, `under` a policy, which never starts; return its name."""
    name = name or cleanup_name(session, uid)
    gates = [{"name": "e2e.agentsessions.dev/never"}]
    body = manifests.server_pod(lab.namespace, name, lab.images.reference("standin"), schedulingGates=gates)
    labels = {LABEL_SESSION: session, LABEL_SESSION_UID: uid, LABEL_ATTEMPT: "0"}
    body["metadata"]["labels"] = common_labels(CLEANUP) | labels | dict(under)
    lab.api.create(body)
    return name
