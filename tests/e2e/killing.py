"""Signals for processes in containers, where the machines allow it; nodes kept free; the end of the operator."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cluster import Provider
from e2e.api import DEPLOYMENTS, NODES, PODS, Api, ApiError, Json
from e2e.manifests import STAND_IN_NAMESPACE
from e2e.operator_pod import NAMESPACE, Operator, is_rolled_out
from e2e.waiting import eventually, wait_for


def end_operator(operator: Operator, api: Api, provider: Provider) -> str:
    """End the operator at once and return how: a pod's process is killed once, so that no restart is held back."""
    (pod,) = eventually(operator.pods, lambda pods: len(pods) == 1, "one operator")
    if not has_died(pod) and kill_process(provider, pod):
        return "SIGKILL"
    api.delete(PODS, NAMESPACE, pod["metadata"]["name"], gracePeriodSeconds=0)
    return "force"


def has_died(pod: Json) -> bool:
    """Return whether a container of the pod has been restarted: the next restart would be held back."""
    return any(status.get("restartCount") for status in pod["status"].get("containerStatuses", []))


def cordon(api: Api, node: str, cordoned: bool) -> None:
    """Keep new pods away from a node, or let them in again."""
    api.patch(NODES, None, node, {"spec": {"unschedulable": cordoned or None}})


@contextmanager
def cordoned(api: Api, node: str) -> Iterator[None]:
    """Keep new pods away from a node for a while."""
    cordon(api, node, True)
    try:
        yield
    finally:
        cordon(api, node, False)


def cleared(api: Api, node: str) -> None:
    """Have all Deployments run on other nodes; the node has to be cordoned."""
    for pod in api.list(PODS, None, fieldSelector=f"spec.nodeName={node}"):
        meta = pod["metadata"]
        if any(owner["kind"] == "ReplicaSet" for owner in meta.get("ownerReferences", [])):
            api.delete(PODS, meta["namespace"], meta["name"])
            wait_for(api, PODS, meta["namespace"], meta["name"], lambda found: found is None, "its end")
    for namespace in (NAMESPACE, "kube-system", STAND_IN_NAMESPACE):
        for one in api.list(DEPLOYMENTS, namespace):
            wait_for(api, DEPLOYMENTS, namespace, one["metadata"]["name"], is_rolled_out, "its rollout")


def evict(api: Api, namespace: str, pod: str) -> None:
    """Ask for the eviction of a pod as `kubectl drain` does; ApiError if it is gone, or may not be disrupted."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
    api.request("POST", f"{PODS.path(namespace, pod)}/eviction", body=body)


def refusal(api: Api, namespace: str, pod: str) -> int:
    """Ask for the eviction of a pod; return the code with which it is refused, 0 if it is not."""
    try:
        evict(api, namespace, pod)
    except ApiError as error:
        return error.code
    return 0


def autoscaler_marks(pod: Json) -> dict[str, str]:
    """Return what a pod tells the Cluster Autoscaler and Karpenter, by the last part of the annotations' names."""
    annotations = pod["metadata"].get("annotations", {})
    known = ("cluster-autoscaler.kubernetes.io/safe-to-evict", "karpenter.sh/do-not-disrupt")
    return {name.rpartition("/")[2]: str(annotations[name]) for name in known if name in annotations}


def kill_process(
    provider: Provider, pod: Json, container: str = "operator", sign: signal.Signals = signal.SIGKILL
) -> bool:
    """Send a signal to the first process of a pod's container; False where the nodes are out of reach."""
    if provider.name == "local":
        found = process_of(pod, container)
        with suppress(ProcessLookupError):  # it has just ended
            if found is not None:
                os.kill(found, sign)
                return True
        return False
    if provider.name == "kind":
        return _kill_in_node(str(pod["spec"]["nodeName"]), _container_id(pod, container), sign)
    return False


def process_of(pod: Json, container: str = "operator") -> int | None:
    """Return the first process of a pod's container on the local cluster, whose nodes are processes of this machine.

    It is found by its control group.
    """
    identity, found = _container_id(pod, container), []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if identity and identity in (folder / "cgroup").read_text():
                found.append(int(folder.name))
    return min(found, default=None)


def _container_id(pod: Json, container: str) -> str:
    """Return the id that the container runtime knows a container by; nothing while it has none."""
    statuses = {one["name"]: one for one in pod["status"].get("containerStatuses", [])}
    return str(statuses.get(container, {}).get("containerID", "")).rpartition("/")[2]


def _kill_in_node(node: str, container: str, sign: signal.Signals) -> bool:
    """Ask the node's container runtime for the process, and kill it there."""
    words = ["docker", "exec", node, "crictl", "inspect", "--output=go-template", "--template={{.info.pid}}", container]
    pid = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["docker", "exec", node, "kill", f"-{sign}", pid], check=True)
    return True
