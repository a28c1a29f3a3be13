"""What is known about a session's pods, read from their JSON once; pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentsessions.api.base import Json
from agentsessions.api.names import (
    ANNOTATION_TEMPLATE_HASH,
    CONTAINER,
    LABEL_ATTEMPT,
    LABEL_DISRUPTION,
    LABEL_NETWORK_POLICY,
)

_PULL_REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)


DEFAULT_GRACE_SECONDS = 30
"""The grace period of Kubernetes, where nobody says another."""
BY_TAINT_MANAGER = "DeletionByTaintManager"
"""The reason by which a pod's condition says that the taint manager put an end to it."""
TERMINAL = ("Succeeded", "Failed")
"""Phases of a pod of which no container will run again."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the agent's container ended."""

    exit_code: int
    reason: str
    message: str
    finished_at: datetime | None
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One pod, as far as decisions need it.

    `gone_by`: when the grace period of its deletion is over; `grace`: how long that is, or would be. `disrupted` is why
    somebody put an end to it, in a sentence, `disrupted_by` who did, by the reason of that condition. `cut_off`: the
    cluster takes it for not ready while its containers are.
    """

    name: str
    uid: str
    resource_version: str
    attempt: int
    phase: str
    created: datetime
    owner_uid: str = ""
    deleting: bool = False
    gone_by: datetime | None = None
    node: str | None = None
    accepted: datetime | None = None
    reason: str = ""
    message: str = ""
    template_hash: str = ""
    policy_label: str = ""
    waiting_reason: str = ""
    waiting_message: str = ""
    running: bool = False
    ended: Ended | None = None
    unschedulable: str = ""
    disrupted: str = ""
    disrupted_by: str = ""
    cut_off: bool = False
    restarted: bool = False
    disruption: str = ""
    grace: int = DEFAULT_GRACE_SECONDS

    @property
    def is_terminal(self) -> bool:
        """Whether no container of it will run again."""
        return self.phase in TERMINAL

    @property
    def has_started(self) -> bool:
        """Whether the agent ran in it, or may have."""
        return self.phase != "Pending" or self.running or self.ended is not None

    @property
    def went_with_node(self) -> bool:
        """Whether the cluster says that its node is gone, or put an end to it since its node is not heard of.

        For any other taint the taint manager gives the same reason. But of a node that is not heard of, the node
        controller says before that the pods are not ready, and of that alone: a kubelet never says so without the
        containers
        (https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/util/node/controller_utils.go).
        """
        by_taint = self.disrupted_by == BY_TAINT_MANAGER and self.cut_off
        return by_taint or self.disrupted_by == "DeletionByPodGC"

    @property
    def cannot_pull(self) -> bool:
        """Whether the node cannot get the image."""
        return self.waiting_reason in _PULL_REASONS


def parse_time(text: str | None) -> datetime | None:
    """Return a Kubernetes time as a datetime in UTC."""
    return datetime.fromisoformat(text) if text else None


def pod_facts(pod: Json) -> PodFacts:
    """Return the facts of one pod as the API server describes it."""
    meta, status = pod["metadata"], pod.get("status", {})
    container = container_state(status)
    waiting = container.get("waiting", {})
    return PodFacts(
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta.get("resourceVersion", ""),
        attempt=_attempt(meta.get("labels", {}).get(LABEL_ATTEMPT, "")),
        phase=status.get("phase", "Pending"),
        created=datetime.fromisoformat(meta["creationTimestamp"]),
        owner_uid=_controller_uid(meta),
        deleting="deletionTimestamp" in meta,
        gone_by=parse_time(meta.get("deletionTimestamp")),
        node=pod.get("spec", {}).get("nodeName"),
        accepted=parse_time(status.get("startTime")),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        template_hash=meta.get("annotations", {}).get(ANNOTATION_TEMPLATE_HASH, ""),
        policy_label=meta.get("labels", {}).get(LABEL_NETWORK_POLICY, ""),
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        running="running" in container,
        ended=_ended(container),
        unschedulable=_condition(status, "PodScheduled", "False", "Unschedulable"),
        disrupted=_condition(status, "DisruptionTarget", "True", ""),
        disrupted_by=_reason(status, "DisruptionTarget", "True"),
        cut_off=_has(status, "Ready", "False") and _has(status, "ContainersReady", "True"),
        disruption=meta.get("labels", {}).get(LABEL_DISRUPTION, ""),
        grace=meta.get("deletionGracePeriodSeconds", _own_grace(pod.get("spec", {}))),
        restarted=any(one.get("restartCount") for one in status.get("containerStatuses", [])),
    )


def _attempt(label: str) -> int:
    """Return the number of the attempt; labels are anybody's to edit, and one that makes no sense is of no attempt."""
    return int(label) if label.isdecimal() else -1


def _controller_uid(meta: Json) -> str:
    """Return the uid of the controlling owner."""
    owners = meta.get("ownerReferences", [])
    return next((str(o["uid"]) for o in owners if o.get("controller")), "")


def ends(status: Json) -> tuple[int, Ended | None]:
    """Return how often the agent's container has ended in a pod with that status, and how it did last.

    An end is known before the kubelet counts it as a restart, which it may put off for minutes.
    """
    container = _container(status)
    state, times = container.get("state", {}), int(container.get("restartCount", 0))
    last = _ended(state) or _ended(container.get("lastState", {}))
    return times + (1 if last is not None and "running" not in state else 0), last


def container_state(status: Json) -> dict[str, Any]:
    """Return the state of the agent's container; empty until the node reports one."""
    return dict(_container(status).get("state", {}))


def _container(status: Json) -> dict[str, Any]:
    """Return what the node reports of the agent's container."""
    return next((dict(one) for one in status.get("containerStatuses", []) if one["name"] == CONTAINER), {})


def _ended(state: Json) -> Ended | None:
    """Return how the container ended, or None while it has not."""
    terminated = state.get("terminated")
    if terminated is None:
        return None
    started, finished = parse_time(terminated.get("startedAt")), parse_time(terminated.get("finishedAt"))
    reason, message = terminated.get("reason", ""), terminated.get("message", "")
    return Ended(int(terminated.get("exitCode", 0)), reason, message, finished, started)


def _own_grace(spec: Json) -> int:
    """Return the grace period that a pod names."""
    return int(spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS))


def _condition(status: Json, kind: str, value: str, reason: str) -> str:
    """Return the message of a pod condition with that value (and reason, if given), else nothing."""
    for condition in _conditions(status, kind, value):
        if not reason or condition.get("reason") == reason:
            return str(condition.get("message") or condition.get("reason") or kind)
    return ""


def _reason(status: Json, kind: str, value: str) -> str:
    """Return the reason of a pod condition with that value, else nothing."""
    return next((str(one.get("reason") or "") for one in _conditions(status, kind, value)), "")


def _has(status: Json, kind: str, value: str) -> bool:
    """Return whether a pod condition has that value."""
    return bool(_conditions(status, kind, value))


def _conditions(status: Json, kind: str, value: str) -> list[Json]:
    """Return the pod conditions of that type with that value: one at most, where the API server checks them."""
    return [one for one in status.get("conditions", []) if (one["type"], one["status"]) == (kind, value)]
