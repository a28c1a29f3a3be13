"""The cluster's API as an administrator uses it: objects in and out as JSON, watches as iterators.

Quicker than starting kubectl for every look; what a person does at the terminal is done by kubectl itself.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from kubernetes import config

Json = dict[str, Any]
_AGAIN = urllib3.Retry(
    total=10,
    status=6,
    status_forcelist={500, 503, 504},
    allowed_methods={"GET", "PATCH", "DELETE"},
    backoff_factor=0.5,
    backoff_max=5,
    raise_on_status=False,
)
"""What is safe to ask twice is asked again while the API server, or its store, is started anew."""
USER = "somebody"
"""Field manager of what the tests apply, as a person or a GitOps controller would."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object: `apiVersion` and plural."""

    version: str
    plural: str

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Return the path of a collection or an object."""
        root = f"/apis/{self.version}" if "/" in self.version else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


SESSIONS = Resource("agentsessions.dev/v1alpha1", "agentsessions")
TEMPLATES = Resource("agentsessions.dev/v1alpha1", "agenttemplates")
POOLS = Resource("agentsessions.dev/v1alpha1", "agentpools")
PODS = Resource("v1", "pods")
ACCOUNTS = Resource("v1", "serviceaccounts")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io/v1", "rolebindings")
STATEFUL_SETS = Resource("apps/v1", "statefulsets")
BUDGETS = Resource("policy/v1", "poddisruptionbudgets")
SECRETS = Resource("v1", "secrets")
CONFIG_MAPS = Resource("v1", "configmaps")
CRDS = Resource("apiextensions.k8s.io/v1", "customresourcedefinitions")
CLAIMS = Resource("v1", "persistentvolumeclaims")
NAMESPACES = Resource("v1", "namespaces")
NODES = Resource("v1", "nodes")
SERVICES = Resource("v1", "services")
QUOTAS = Resource("v1", "resourcequotas")
EVENTS = Resource("events.k8s.io/v1", "events")
POLICIES = Resource("networking.k8s.io/v1", "networkpolicies")
ENDPOINTS = Resource("discovery.k8s.io/v1", "endpointslices")
DEPLOYMENTS = Resource("apps/v1", "deployments")
LEASES = Resource("coordination.k8s.io/v1", "leases")
AUTOSCALERS = Resource("autoscaling/v2", "horizontalpodautoscalers")
PRIORITY_CLASSES = Resource("scheduling.k8s.io/v1", "priorityclasses")

_KINDS = {
    "AgentSession": SESSIONS,
    "AgentTemplate": TEMPLATES,
    "AgentPool": POOLS,
    "ServiceAccount": ACCOUNTS,
    "RoleBinding": ROLE_BINDINGS,
    "Pod": PODS,
    "Secret": SECRETS,
    "ConfigMap": CONFIG_MAPS,
    "CustomResourceDefinition": CRDS,
    "Namespace": NAMESPACES,
    "ResourceQuota": QUOTAS,
    "Deployment": DEPLOYMENTS,
    "Service": SERVICES,
    "HorizontalPodAutoscaler": AUTOSCALERS,
    "PriorityClass": PRIORITY_CLASSES,
    "NetworkPolicy": POLICIES,
}


class ApiError(Exception):
    """The API server said no; `code` is the HTTP status, `message` is what a user would read."""

    def __init__(self, code: int, body: Json) -> None:
        super().__init__(f"{code} {body.get('message', body)}")
        self.code = code
        self.message = str(body.get("message", body))


class Api:
    """One connection pool to the API server."""

    def __init__(self, kubeconfig: Path) -> None:
        self._client = config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]
        self._pool: urllib3.PoolManager = self._client.rest_client.pool_manager

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, kind: Resource, namespace: str | None, name: str) -> Json | None:
        """Return an object, or None if there is none."""
        try:
            return self.request("GET", kind.path(namespace, name))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def list(self, kind: Resource, namespace: str | None = None, **query: str) -> list[Json]:
        """Return the objects that match; `query` is labelSelector and fieldSelector."""
        return list(self.request("GET", kind.path(namespace), query=query)["items"])

    def create(self, manifest: Json) -> Json:
        """Create an object; raises ApiError."""
        kind = _KINDS[manifest["kind"]]
        return self.request("POST", kind.path(manifest["metadata"].get("namespace")), body=manifest)

    def apply(self, manifest: Json, **query: str) -> Json:
        """Apply an object on the server, as a user; raises ApiError."""
        meta = manifest["metadata"]
        path = _KINDS[manifest["kind"]].path(meta.get("namespace"), meta["name"])
        options = {"fieldManager": USER, **query}
        return self.request("PATCH", path, query=options, body=manifest, kind="application/apply-patch+yaml")

    def patch(self, kind: Resource, namespace: str | None, name: str, change: Json) -> Json:
        """Merge a change into an object; raises ApiError."""
        return self.request("PATCH", kind.path(namespace, name), body=change, kind="application/merge-patch+json")

    def delete(self, kind: Resource, namespace: str | None, name: str, **options: object) -> None:
        """Ask for the deletion of an object; `options` as in DeleteOptions."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
        self.request("DELETE", kind.path(namespace, name), body=body)

    def text(self, path: str, **query: str) -> str:
        """Return a path that is not JSON, for example metrics or a log."""
        response = self._send("GET", path, query, None, "application/json")
        if response.status >= 400:
            raise ApiError(response.status, {"message": response.data.decode(errors="replace")})
        return response.data.decode(errors="replace")

    def request(
        self,
        verb: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Json | None = None,
        kind: str = "application/json",
    ) -> Json:
        """Send one request and return the answer; raises ApiError."""
        response = self._send(verb, path, query or {}, body, kind)
        answer: Json = json.loads(response.data)
        if response.status >= 400:
            raise ApiError(response.status, answer)
        return answer

    def watch(self, kind: Resource, namespace: str | None, seconds: int, **query: str) -> Iterator[tuple[str, Json]]:
        """Yield (type, object) for at most `seconds`; without a resourceVersion what exists comes first."""
        options = {"watch": "1", "timeoutSeconds": str(max(1, seconds)), **query}
        response = self._send("GET", kind.path(namespace), options, None, "application/json", stream=True)
        try:
            if response.status >= 400:
                raise ApiError(response.status, json.loads(response.read()))
            for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(int(event["object"].get("code", 500)), event["object"])
                yield event["type"], event["object"]
        finally:
            response.close()

    def _send(
        self, verb: str, path: str, query: dict[str, str], body: Json | None, kind: str, *, stream: bool = False
    ) -> urllib3.BaseHTTPResponse:
        """Send one request with the kubeconfig's credentials."""
        headers = {"Accept": "application/json, */*", "Content-Type": kind}
        self._client.update_params_for_auth(headers, [], ["BearerToken"], path, verb, body)
        url = f"{self._client.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        return self._pool.request(
            verb,
            url,
            body=data,
            headers=headers,
            preload_content=not stream,
            retries=_AGAIN,
            timeout=urllib3.Timeout(connect=10, read=700),
        )


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Yield complete lines as they arrive."""
    rest = b""
    for piece in response.stream(amt=None, decode_content=True):
        *complete, rest = (rest + piece).split(b"\n")
        yield from (line for line in complete if line)


def condition(thing: Json, kind: str) -> Json:
    """Return the condition of that type, empty if it is not set."""
    # A definition that was just made has `conditions: null`.
    found = (c for c in thing.get("status", {}).get("conditions") or [] if c["type"] == kind)
    return next(found, {})
