"""The end of the operator: SIGKILL for its process where the cluster's machines allow it, or no grace for its pod."""

import os
import signal
import subprocess
from pathlib import Path

from cluster import Provider
from e2e.api import PODS, Api, Json
from e2e.operator_pod import NAMESPACE, Operator


def end_operator(operator: Operator, api: Api, provider: Provider) -> str:
    """End the operator at once and return how: a pod's process is killed once, so that no restart is held back."""
    pod = operator.pod()
    died = any(status.get("restartCount") for status in pod["status"].get("containerStatuses", []))
    if not died and kill_process(provider, pod):
        return "SIGKILL"
    api.delete(PODS, NAMESPACE, pod["metadata"]["name"], gracePeriodSeconds=0)
    return "force"


def kill_process(provider: Provider, pod: Json) -> bool:
    """Kill the process of the operator's container with -9; False where the nodes are out of reach."""
    if provider.name == "local":
        return _kill_here(str(pod["metadata"]["uid"]))
    if provider.name == "kind":
        return _kill_in_node(str(pod["spec"]["nodeName"]), pod["status"]["containerStatuses"][0]["containerID"])
    return False


def _kill_here(uid: str) -> bool:
    """Find the process by its control group: the local cluster's nodes are processes of this machine."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, groups = (folder / "cmdline").read_bytes(), (folder / "cgroup").read_text()
        except OSError:
            continue
        if f"pod{uid}" in groups and b"agentsessions" in command:
            os.kill(int(folder.name), signal.SIGKILL)
            return True
    return False


def _kill_in_node(node: str, container: str) -> bool:
    """Ask the node's container runtime for the process, and kill it there."""
    identity = container.rpartition("/")[2]
    words = ["docker", "exec", node, "crictl", "inspect", "--output=go-template", "--template={{.info.pid}}", identity]
    pid = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["docker", "exec", node, "kill", "-9", pid], check=True)
    return True
