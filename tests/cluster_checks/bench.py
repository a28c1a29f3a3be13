"""One namespace, and the words in which the checks speak about pods in it."""

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import cluster
from cluster.local.images import BUSYBOX_IMAGE

PORT = 8080
PATIENCE = 90.0
SERVE = ["nc", "-ll", "-p", str(PORT), "-e", "echo", "hello"]
UNPRIVILEGED = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "fsGroup": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def eventually(what: str, check: Callable[[], bool], show: Callable[[], object] = str) -> None:
    """Wait until it holds; fail with what was seen last when it never does."""
    end = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < end, f"{what}: not within {PATIENCE:.0f} s; {show()}"
        time.sleep(0.2)


def pod(name: str, node: str | None = None, command: list[str] | None = None, **more: Any) -> dict[str, Any]:
    """A pod as Pod Security "restricted" wants it; `labels`, `limits`, `volumes` and `mounts` are given by name."""
    container = {
        "name": "main",
        "image": BUSYBOX_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": command or ["sleep", "100000"],
        "resources": {"requests": {"cpu": "10m"}, "limits": more.get("limits", {})},
        "volumeMounts": more.get("mounts", []),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "nodeName": node,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "securityContext": UNPRIVILEGED,
        "containers": [container],
        "volumes": more.get("volumes", []),
    }
    labels = {"name": name, **more.get("labels", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


class Bench:
    """A namespace on a cluster."""

    def __init__(self, provider: cluster.Provider, namespace: str) -> None:
        """The namespace is made by the fixture."""
        self.namespace = namespace
        self.nodes = provider.nodes()
        self._command = [str(cluster.binary("kubectl")), f"--kubeconfig={provider.kubeconfig()}"]

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl; fail with what it printed."""
        done = self._run(*words, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def apply(self, *documents: dict[str, Any]) -> None:
        """Apply objects in the namespace."""
        self.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, documents)))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object of the namespace."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def field(self, kind: str, name: str, path: str, namespace: str = "") -> str:
        """One field of an object, here or in another namespace."""
        where = f"--namespace={namespace or self.namespace}"
        return self.kubectl("get", kind, name, where, "-o", f"jsonpath={path}")

    def wait_for_account(self) -> None:
        """Pods are refused until the namespace has its service account."""
        eventually("the service account", lambda: self._run("get", "serviceaccount", "default").returncode == 0)

    def ready(self, *names: str) -> None:
        """Wait until these pods are Ready."""
        self.kubectl("wait", "--for=condition=Ready", "--timeout=90s", *(f"pod/{name}" for name in names))

    def address(self, name: str) -> str:
        """The address of a pod."""
        return str(self.get("pod", name)["status"]["podIP"])

    def phase(self, name: str) -> str:
        """The phase of a pod."""
        return str(self.get("pod", name)["status"]["phase"])

    def shell(self, name: str, script: str) -> str:
        """What a script in a pod printed; fails when the script does."""
        return self.kubectl("exec", name, "--", "sh", "-c", script)

    def reaches(self, name: str, host: str, port: int = PORT) -> bool:
        """Whether a pod can connect."""
        return self._run("exec", name, "--", "nc", "-w", "2", host, str(port)).returncode == 0

    def _run(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [*self._command, f"--namespace={self.namespace}", *words]
        return subprocess.run(command, input=stdin or "", text=True, capture_output=True, timeout=120)
