"""What nodes and the scheduler say about a pod: `status` as a real kubelet reports it."""

from copy import deepcopy
from datetime import datetime, timedelta

from agentsessions.api.base import Json
from agentsessions.api.names import CONTAINER
from unit.make import NOW, stamp

EVICTED_DISK = "Pod ephemeral local storage usage exceeds the total limit of containers 5Gi. "
EVICTED_VOLUME = 'Usage of EmptyDir volume "workspace" exceeds the limit "5Gi". '
EVICTED_NODE = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 80Mi. "
MARKED = "Marking for deletion Pod default/hello"


def event(pod: Json, reason: str, message: str, time: datetime) -> Json:
    """Return an event about a pod."""
    meta = pod["metadata"]
    return {
        "metadata": {"name": reason.lower(), "namespace": meta["namespace"]},
        "involvedObject": {"kind": "Pod", "name": meta["name"], "uid": meta["uid"]},
        "reason": reason,
        "message": message,
        "lastTimestamp": stamp(time),
    }


def pending() -> Json:
    """The pod was created and nobody has looked at it."""
    return {"phase": "Pending"}


def unschedulable(message: str = "0/2 nodes are available: 2 Insufficient memory.") -> Json:
    """No node takes the pod."""
    return pending() | {"conditions": [_condition("PodScheduled", "False", "Unschedulable", message)]}


def creating(reason: str = "ContainerCreating", message: str = "", at: datetime = NOW) -> Json:
    """A node has the pod, and its container waits for something."""
    waiting = {"reason": reason} | ({"message": message} if message else {})
    return _on_node("Pending", {"waiting": waiting}, at)


def running(at: datetime = NOW) -> Json:
    """The agent is at work."""
    return _on_node("Running", {"running": {"startedAt": stamp(at)}}, at)


def ended(
    exit_code: int = 0,
    *,
    message: str = "",
    reason: str = "",
    at: datetime = NOW,
    finished: datetime | None = None,
) -> Json:
    """The agent's container ended."""
    word = reason or ("Completed" if exit_code == 0 else "Error")
    state = {"exitCode": exit_code, "reason": word, "finishedAt": stamp(finished or at + timedelta(seconds=5))}
    if message:
        state["message"] = message
    return _on_node("Succeeded" if exit_code == 0 else "Failed", {"terminated": state}, at)


def restarted(times: int = 1, exit_code: int = 1, reason: str = "Error", at: datetime = NOW, lived: float = 30) -> Json:
    """The container runs again, after its last end at that time; it had `lived` for so many seconds."""
    status = running()
    status["containerStatuses"][0] |= {"restartCount": times, "lastState": _last_end(exit_code, reason, at, lived)}
    return status


def crash_loop(
    times: int = 1, exit_code: int = 1, reason: str = "Error", at: datetime = NOW, lived: float = 30
) -> Json:
    """The container has ended once more than it was started again, and the kubelet lets it wait."""
    status = restarted(times, exit_code, reason, at, lived)
    message = "back-off 10s restarting failed container"
    status["containerStatuses"][0]["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    return status


def evicted(message: str = EVICTED_NODE, *, exit_code: int = 137, at: datetime = NOW) -> Json:
    """The kubelet evicted the pod."""
    failed = ended(exit_code, at=at) | {"phase": "Failed", "reason": "Evicted", "message": message}
    return failed | {"conditions": [_condition("DisruptionTarget", "True", "TerminationByKubelet", message)]}


def drained(exit_code: int = 143, message: str = "") -> Json:
    """The eviction API stopped the pod, as `kubectl drain` does."""
    text = "Eviction API: evicting"
    return ended(exit_code, message=message) | {
        "conditions": [_condition("DisruptionTarget", "True", "EvictionByEvictionAPI", text)]
    }


def deadline_exceeded(message: str = "", at: datetime = NOW) -> Json:
    """The kubelet stopped the pod at its activeDeadlineSeconds."""
    text = "Pod was active on the node longer than the specified deadline"
    return ended(137, message=message, at=at) | {"reason": "DeadlineExceeded", "message": text}


def refused_anew(exit_code: int = 137, message: str = "") -> Json:
    """The kubelet was started again with less to give away, and stopped a pod that it had been running."""
    text = "Pod was rejected: Node didn't have enough resource: memory, requested: 16777216, used: 0, capacity: 252764"
    return ended(exit_code, message=message) | {"phase": "Failed", "reason": "OutOfmemory", "message": text}


def not_ready(*, cut_off: bool = False) -> Json:
    """The container runs and is not ready; or it is, as far as was last heard of its node, which is long ago."""
    status = _with(_ready(), _condition("Ready", "False", "", ""))
    return status if cut_off else _with(status, _condition("ContainersReady", "False", "", ""))


def tainted(status: Json | None = None) -> Json:
    """The taint manager deletes a pod that does not tolerate a taint of its node, which goes on meanwhile."""
    text = "Taint manager: deleting due to NoExecute taint"
    return _with(status or _ready(), _condition("DisruptionTarget", "True", "DeletionByTaintManager", text))


def unreachable() -> Json:
    """The taint manager deletes a pod whose node is not heard of: its containers are as they were last heard of."""
    return tainted(not_ready(cut_off=True))


def node_lost() -> Json:
    """The pod garbage collector failed a pod whose node is gone: its container is as it was last heard of."""
    lost = not_ready(cut_off=True) | {"phase": "Failed"}
    return _with(lost, _condition("DisruptionTarget", "True", "DeletionByPodGC", "PodGC: node no longer exists"))


def never_started() -> Json:
    """A pod that was deleted before its container ran: the kubelet fails it, and makes up a container status."""
    state = {
        "exitCode": 137,
        "reason": "ContainerStatusUnknown",
        "message": "The container could not be located when the pod was terminated",
        "startedAt": None,
        "finishedAt": None,
    }
    return _on_node("Failed", {"terminated": state}, NOW)


def shifted(status: Json, at: datetime) -> Json:
    """Return a status as it would be if it had come about now; a pod keeps the start it had."""
    out = deepcopy(status)
    if "startTime" in out:
        out["startTime"] = stamp(at)
    for container in out.get("containerStatuses", []):
        if container["state"].get("terminated", {}).get("finishedAt"):
            container["state"]["terminated"]["finishedAt"] = stamp(at)
    return out


def _last_end(exit_code: int, reason: str, at: datetime, lived: float) -> Json:
    times = {"startedAt": stamp(at - timedelta(seconds=lived)), "finishedAt": stamp(at)}
    return {"terminated": {"exitCode": exit_code, "reason": reason} | times}


def _on_node(phase: str, state: Json, at: datetime) -> Json:
    return {"phase": phase, "startTime": stamp(at), "containerStatuses": [{"name": CONTAINER, "state": state}]}


def _ready() -> Json:
    conditions = [_condition("ContainersReady", "True", "", ""), _condition("Ready", "True", "", "")]
    return running() | {"conditions": conditions}


def _with(status: Json, condition: Json) -> Json:
    others = [one for one in status.get("conditions", []) if one["type"] != condition["type"]]
    return status | {"conditions": [*others, condition]}


def _condition(kind: str, status: str, reason: str, message: str) -> Json:
    return {"type": kind, "status": status, "reason": reason, "message": message}
