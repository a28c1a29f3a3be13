"""Questions to the API server, asked as the administrator over plain HTTPS: much quicker than starting kubectl."""

import http.client
import json
import ssl
from typing import Any

from cluster.local.settings import Settings


class Api:
    """The API server of the local cluster."""

    def __init__(self, settings: Settings) -> None:
        """Needs the keys to exist; the server may be down."""
        self._host = settings.api_address
        self._context = ssl.create_default_context(cafile=str(settings.pki / "ca.crt"))
        self._context.load_cert_chain(settings.pki / "admin.crt", settings.pki / "admin.key")

    def get(self, path: str) -> Any:
        """The JSON answer to a GET; None when there is no such object or no server."""
        status, body = self._request("GET", path)
        return json.loads(body) if status == 200 else None

    def ready(self) -> bool:
        """Whether the server says that it is ready."""
        return self._request("GET", "/readyz")[0] == 200

    def ready_nodes(self) -> set[str]:
        """The names of the nodes that are Ready."""
        nodes = self.get("/api/v1/nodes") or {"items": []}
        return {node["metadata"]["name"] for node in nodes["items"] if condition(node, "Ready") == "True"}

    def heartbeat(self, node: str) -> str:
        """When the kubelet last said how the node is; empty when it never did."""
        found = self.get(f"/api/v1/nodes/{node}") or {}
        conditions = found.get("status", {}).get("conditions", [])
        return next((str(item["lastHeartbeatTime"]) for item in conditions if item["type"] == "Ready"), "")

    def available(self, namespace: str, deployment: str) -> bool:
        """Whether a deployment has all the replicas that it wants, of the generation that it wants."""
        found = self.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}")
        return found is not None and rolled_out(found)

    def _request(self, method: str, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(self._host, 6443, timeout=5, context=self._context)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()


def condition(thing: dict[str, Any], kind: str) -> str:
    """The status of one of its conditions; Unknown when it has none of this type."""
    conditions = thing.get("status", {}).get("conditions", [])
    return next((str(item["status"]) for item in conditions if item["type"] == kind), "Unknown")


def rolled_out(deployment: dict[str, Any]) -> bool:
    """Whether every wanted replica of the current generation is available."""
    status = deployment.get("status", {})
    wanted = deployment["spec"]["replicas"]
    current = bool(status.get("observedGeneration") == deployment["metadata"]["generation"])
    return current and wanted == status.get("updatedReplicas", 0) == status.get("availableReplicas", 0)
