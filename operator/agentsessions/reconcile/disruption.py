"""What `disruption` asks for beside the pod itself: the namespace's budgets, and marks that follow what is so; pure."""

from agentsessions.api.names import ANNOTATION_DO_NOT_DISRUPT, ANNOTATION_SAFE_TO_EVICT
from agentsessions.api.template import DEFAULT_DISRUPTION
from agentsessions.builders.disruption import Mark, budget_of, disruption_annotations, disruption_labels
from agentsessions.policies.facts import PodFacts
from agentsessions.reconcile.model import Action, Ensure, MarkPod

_NONE = {ANNOTATION_SAFE_TO_EVICT: None, ANNOTATION_DO_NOT_DISRUPT: None}


def shelter(namespace: str, mark: Mark) -> tuple[Action, ...]:
    """Return what must stand before a pod has that mark: its budget, if any, read first, so that it is made once."""
    budget = budget_of(namespace, mark)
    return (Ensure(budget, look=True),) if budget is not None else ()


def sheltered(pod: PodFacts, namespace: str, mark: Mark) -> tuple[Action, ...]:
    """Return what must hold as long as the pod is there; it is marked only when it has another mark."""
    if (pod.disruption or DEFAULT_DISRUPTION) == mark:
        return shelter(namespace, mark)
    annotations: dict[str, str | None] = {**_NONE, **disruption_annotations(mark)}
    return (*shelter(namespace, mark), MarkPod(pod, namespace, disruption_labels(mark), annotations))
