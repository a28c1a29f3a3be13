"""What drains and autoscalers read of a pod, and the budgets of those that must not be evicted; pure.

One budget in a namespace is for all pods of a kind, by a label: a thousand sessions cost one object.
"""

from typing import Literal

from agentsessions.api.base import Json
from agentsessions.api.names import (
    ANNOTATION_DO_NOT_DISRUPT,
    ANNOTATION_SAFE_TO_EVICT,
    HELD_BUDGET,
    LABEL_DISRUPTION,
    LABEL_MANAGED_BY,
    MANAGED_BY,
    NEVER_BUDGET,
    common_labels,
)
from agentsessions.api.template import Disruption

_MORE_THAN_THERE_ARE = 1_000_000_000
"""Kubernetes knows no scale of these pods' controller, so that of a bound on them `maxUnavailable` and percentages mean
nothing. A whole number of pods that must be there does: with more than there can be, none may be evicted."""


HELD: Literal["Held"] = "Held"
"""The mark of a pod that must not be evicted at the moment, whatever its session's intent is."""
Mark = Disruption | Literal["Held"]


def disruption_labels(mark: Mark) -> dict[str, str]:
    """Return the label of a session's own pod; those of a pool come under the pool's budget, and under no other."""
    return {LABEL_DISRUPTION: mark}


def disruption_annotations(mark: Mark) -> dict[str, str]:
    """Return what the Cluster Autoscaler and Karpenter go by."""
    if mark in ("Never", HELD):
        return {ANNOTATION_SAFE_TO_EVICT: "false", ANNOTATION_DO_NOT_DISRUPT: "true"}
    return {ANNOTATION_SAFE_TO_EVICT: "true"}


def deaf_seconds(grace: int) -> int:
    """Return for how many seconds of its grace a container is not told yet that it is to stop.

    A kubelet that starts the container of a pod which is deleted meanwhile stops it in the same moment. A signal that a
    first process has no handler for yet is lost, and the pod would run on for all of its grace.
    """
    return 1 if grace > 1 else 0


def told_late(grace: int) -> Json:
    """Return the part of a container with that grace (seconds) by which it is."""
    seconds = deaf_seconds(grace)
    return {"lifecycle": {"preStop": {"sleep": {"seconds": seconds}}}} if seconds else {}


def budget_of(namespace: str, mark: Mark) -> Json | None:
    """Return the budget of all pods of the namespace with that mark, if it is one of pods that must not be evicted.

    With `Never` one that is not ready may be, or a crash loop would hold its node. With `Held` not: what is on its disk
    is nowhere else, ready or not.
    """
    if mark == "Never":
        return _none_of(namespace, NEVER_BUDGET, mark, "AlwaysAllow")
    return _none_of(namespace, HELD_BUDGET, mark, "IfHealthyBudget") if mark == HELD else None


def _none_of(namespace: str, name: str, mark: Mark, unhealthy: str) -> Json:
    """Return a budget that lets none of the pods with a mark be evicted; `unhealthy` is the policy for unready ones."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace, "labels": common_labels("disruption-budget")},
        "spec": {
            "minAvailable": _MORE_THAN_THERE_ARE,
            "selector": {"matchLabels": {LABEL_MANAGED_BY: MANAGED_BY, LABEL_DISRUPTION: mark}},
            "unhealthyPodEvictionPolicy": unhealthy,
        },
    }
