"""What is left of a step once its actions are carried out: the pod is made, or why it could not be; pure."""

from dataclasses import replace
from datetime import datetime

from agentsessions.api.conditions import Reason
from agentsessions.policies.startup import refusal
from agentsessions.reconcile.apply import Applied
from agentsessions.reconcile.longrunning import answers, ownpod
from agentsessions.reconcile.longrunning.model import Around, Step
from agentsessions.reconcile.longrunning.rows import blocked, not_made
from agentsessions.reconcile.model import Notice, SetFinalizers, StartPod
from agentsessions.reconcile.starting import conflict

_EXPIRED = "The session had slept for its time to live (`ttlSecondsAfterIdle`) without a message, and was deleted."


def acted(around: Around, step: Step, applied: Applied, now: datetime) -> Step:
    """Return the step once its actions are done: the pod's uid is known, or the API server would not have it."""
    if applied.pod_in_the_way:
        return answers.patient(blocked(around, Reason.POD_CONFLICT, conflict(applied.pod_in_the_way), now), around, now)
    if applied.refused and makes(step):
        without = ownpod.unmade(around, step.status)
        return answers.patient(not_made(around, refusal(applied.refused), now, onto=without), around, now)
    if applied.expired:
        return step.saying(Notice("Normal", Reason.EXPIRED, "Expire", _EXPIRED))
    host = step.status.host
    if not applied.pod_uid or host is None:
        return step
    status = step.status.model_copy(update={"host": host.model_copy(update={"pod_uid": applied.pod_uid})})
    return replace(step, status=status)


def makes(step: Step) -> bool:
    """Return whether the step is for nothing without its actions: it makes the pod, or comes before all else."""
    return any(isinstance(action, StartPod | SetFinalizers) for action in step.actions)
