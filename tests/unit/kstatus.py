"""kstatus, as far as it concerns a custom resource: what Flux, Helm 4 and `kubectl wait` users make of its status.

The order of the checks is that of `checkGenericProperties`, `checkGeneration` and `checkReadyCondition` in
https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus/status (generic.go, status.go).
"""

from agentsessions.api.base import Json


def kstatus(resource: Json) -> str:
    """Return Terminating, InProgress, Failed or Current."""
    meta, status = resource["metadata"], resource.get("status", {})
    if meta.get("deletionTimestamp"):
        return "Terminating"
    if "observedGeneration" in status and "generation" in meta and status["observedGeneration"] != meta["generation"]:
        return "InProgress"
    return _by_standard_conditions(status) or _by_ready(status)


def _by_standard_conditions(status: Json) -> str | None:
    for condition in status.get("conditions", []):
        if condition["status"] == "True" and condition["type"] in ("Reconciling", "Stalled"):
            return "InProgress" if condition["type"] == "Reconciling" else "Failed"
    return None


def _by_ready(status: Json) -> str:
    for condition in status.get("conditions", []):
        if condition["type"] == "Ready":
            return "Current" if condition["status"] == "True" else "InProgress"
    return "Current"
