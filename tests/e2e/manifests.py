"""Manifests as users write them, and the scripts by which a prompt tells the stand-in what to answer. Pure."""

import json
from typing import Any

Json = dict[str, Any]
API_VERSION = "agentsessions.dev/v1alpha1"
CANARY = "canary-7c1fd0e6-do-not-leak"
"""Stands in every prompt; found anywhere but in the prompt's own places, it is a leak."""

TOOL_RESULT = "{{toolResult}}"
"""In a scripted text: what the newest tool call returned."""

STAND_IN_NAMESPACE = "model-standin"
SERVER_PYTHON = "/opt/standin/bin/python"


def prompt(*steps: Json) -> str:
    """Return a prompt that makes the stand-in answer with these steps; prompts in there may have scripts too."""
    body = json.dumps(list(steps)).replace("<<script", "\\u003c<script").replace("script>>", "script\\u003e>")
    return f"{CANARY} <<script {body} script>>"


def bash(command: str, **more: Any) -> Json:
    """Return the step that calls the Bash tool."""
    return {"tool": "Bash", "input": {"command": command, **more}}


def subagent(kind: str, *steps: Json) -> Json:
    """Return the call of a subagent that answers with these steps."""
    return {"tool": "Agent", "input": {"description": "a part", "prompt": prompt(*steps), "subagent_type": kind}}


def say(text: str) -> Json:
    """Return the step that ends a turn with a text."""
    return {"text": text}


def session(namespace: str, name: str = "task", *, steps: tuple[Json, ...] = (), **spec: Any) -> Json:
    """Return an AgentSession; without `steps` its prompt asks for one sentence."""
    wanted = {"pattern": "Ephemeral", **spec}
    if not {"prompt", "promptSecretRef"} & set(wanted):
        wanted["prompt"] = prompt(*(steps or (say("done"),)))
    return {
        "apiVersion": API_VERSION,
        "kind": "AgentSession",
        "metadata": {"name": name, "namespace": namespace},
        "spec": wanted,
    }


def template(namespace: str, name: str = "default", **spec: Any) -> Json:
    """Return an AgentTemplate."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AgentTemplate",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def pool(namespace: str, name: str = "chat", **spec: Any) -> Json:
    """Return an AgentPool."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AgentPool",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def lasting(namespace: str, name: str, pool: str = "chat", **spec: Any) -> Json:
    """Return a LongRunning AgentSession."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AgentSession",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"pattern": "LongRunning", "poolRef": {"name": pool}, **spec},
    }


def hybrid(namespace: str, name: str, **spec: Any) -> Json:
    """Return a Hybrid AgentSession."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AgentSession",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"pattern": "Hybrid", **spec},
    }


def account(namespace: str, name: str) -> Json:
    """Return a ServiceAccount."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}


def editor(namespace: str, account: str) -> Json:
    """Return a RoleBinding that makes an account an editor of its namespace."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": account, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }


def autoscaler(namespace: str, pool: str, least: int, most: int) -> Json:
    """Return a HorizontalPodAutoscaler of a pool."""
    target = {"apiVersion": API_VERSION, "kind": "AgentPool", "name": pool}
    memory = {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 80}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": pool, "namespace": namespace},
        "spec": {
            "scaleTargetRef": target,
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": [{"type": "Resource", "resource": memory}],
        },
    }


def secret(namespace: str, name: str, **values: str) -> Json:
    """Return a Secret."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": values,
    }


def quota(namespace: str, **most: int) -> Json:
    """Return a ResourceQuota on numbers of objects."""
    hard = {name: str(count) for name, count in most.items()}
    metadata = {"name": "pods", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}}


def namespace(name: str, level: str = "restricted") -> Json:
    """Return a Namespace under Pod Security."""
    labels = {"pod-security.kubernetes.io/enforce": level, "agentsessions.dev/e2e": "true"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def server_pod(namespace_: str, name: str, image: str, **spec: Any) -> Json:
    """Return a pod that answers HTTP on port 8080, and has Python for probes."""
    restricted = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "server",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [SERVER_PYTHON, "-m", "http.server", "8080", "--directory", "/tmp"],
        "securityContext": restricted,
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace_, "labels": {"app": name}},
        "spec": {
            "containers": [container],
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            **spec,
        },
    }
