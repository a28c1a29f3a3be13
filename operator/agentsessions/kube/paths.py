"""Where the API server keeps each kind; pure."""

from dataclasses import dataclass
from urllib.parse import quote

from agentsessions.api.base import API_VERSION, Json


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object: its group and version as in `apiVersion`, and its plural."""

    version: str
    plural: str

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """Return the path of a collection, an object, or a part of one; raises ValueError for what is no name."""
        root = f"/api/{self.version}" if "/" not in self.version else f"/apis/{self.version}"
        parts = [root]
        if namespace is not None:
            parts += ["namespaces", _segment(namespace)]
        parts.append(self.plural)
        if name is not None:
            parts.append(_segment(name))
        return "/".join(parts) + (f"/{subresource}" if subresource else "")


def _segment(name: str) -> str:
    """Return a name as one part of a path: HTTP clients resolve `..`, and a name is no way to another object."""
    if name in ("", ".", ".."):
        raise ValueError(f"{name!r} is no name of an object")
    return quote(name, safe="")


SESSIONS = Kind(API_VERSION, "agentsessions")
POOLS = Kind(API_VERSION, "agentpools")
TEMPLATES = Kind(API_VERSION, "agenttemplates")
PODS = Kind("v1", "pods")
NAMESPACES = Kind("v1", "namespaces")
SECRETS = Kind("v1", "secrets")
TOKEN_REVIEWS = Kind("authentication.k8s.io/v1", "tokenreviews")
ACCESS_REVIEWS = Kind("authorization.k8s.io/v1", "subjectaccessreviews")
SERVICES = Kind("v1", "services")
STATEFUL_SETS = Kind("apps/v1", "statefulsets")
CONTROLLER_REVISIONS = Kind("apps/v1", "controllerrevisions")
BUDGETS = Kind("policy/v1", "poddisruptionbudgets")
LEASES = Kind("coordination.k8s.io/v1", "leases")
CLAIMS = Kind("v1", "persistentvolumeclaims")
CORE_EVENTS = Kind("v1", "events")
EVENTS = Kind("events.k8s.io/v1", "events")
NETWORK_POLICIES = Kind("networking.k8s.io/v1", "networkpolicies")

_BY_KIND = {
    "Pod": PODS,
    "Secret": SECRETS,
    "PersistentVolumeClaim": CLAIMS,
    "NetworkPolicy": NETWORK_POLICIES,
    "StatefulSet": STATEFUL_SETS,
    "Service": SERVICES,
    "PodDisruptionBudget": BUDGETS,
}


def kind_of(manifest: Json) -> Kind:
    """Return the kind of a manifest that the builders made."""
    return _BY_KIND[manifest["kind"]]
