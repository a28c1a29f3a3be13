"""Signals for processes in containers, where the cluster's machines allow it; and the end of the operator."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from cluster import Provider
from e2e.api import PODS, Api, Json
from e2e.operator_pod import NAMESPACE, Operator


def end_operator(operator: Operator, api: Api, provider: Provider) -> str:
    """End the operator at once and return how: a pod's process is killed once, so that no restart is held back."""
    pod = operator.pod()
    if not has_died(pod) and kill_process(provider, pod):
        return "SIGKILL"
    api.delete(PODS, NAMESPACE, pod["metadata"]["name"], gracePeriodSeconds=0)
    return "force"


def has_died(pod: Json) -> bool:
    """Return whether a container of the pod has been restarted: the next restart would be held back."""
    return any(status.get("restartCount") for status in pod["status"].get("containerStatuses", []))


def evict(api: Api, namespace: str, pod: str) -> None:
    """Ask for the eviction of a pod as `kubectl drain` does; ApiError if it is gone, or may not be disrupted."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
    api.request("POST", f"{PODS.path(namespace, pod)}/eviction", body=body)


def kill_process(
    provider: Provider, pod: Json, container: str = "operator", sign: signal.Signals = signal.SIGKILL
) -> bool:
    """Send a signal to the first process of a pod's container; False where the nodes are out of reach."""
    statuses = {one["name"]: one for one in pod["status"].get("containerStatuses", [])}
    identity = str(statuses[container].get("containerID", "")).rpartition("/")[2]
    if provider.name == "local":
        return _kill_here(identity, sign)
    if provider.name == "kind":
        return _kill_in_node(str(pod["spec"]["nodeName"]), identity, sign)
    return False


def _kill_here(container: str, sign: signal.Signals) -> bool:
    """Find the process by its control group: the local cluster's nodes are processes of this machine."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if container and container in (folder / "cgroup").read_text():
                found.append(int(folder.name))
    if found:
        os.kill(min(found), sign)
    return bool(found)


def _kill_in_node(node: str, container: str, sign: signal.Signals) -> bool:
    """Ask the node's container runtime for the process, and kill it there."""
    words = ["docker", "exec", node, "crictl", "inspect", "--output=go-template", "--template={{.info.pid}}", container]
    pid = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["docker", "exec", node, "kill", f"-{sign}", pid], check=True)
    return True
