"""Why a pod has not started yet, in words that name what to mend."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agentsessions.api.conditions import Reason, State
from agentsessions.policies.facts import PodFacts

PATIENCE = timedelta(seconds=8)
"""How long a pod may be on its way before we ask the node's events what keeps it."""

_MISSING_SECRET = re.compile(r'secrets? "([^"]+)" not found')
_MISSING_KEY = re.compile(r"references non-existent secret key: (\S+)|couldn't find key (\S+) in Secret", re.I)


_QUOTA = "exceeded quota:"
"""How the API server words the refusal of what a ResourceQuota has no room for (its admission plugin ResourceQuota);
"failed quota:" asks for requests or limits that are missing, and never empties itself."""


@dataclass(frozen=True, slots=True)
class PodWarning:
    """An event about a pod that its node has posted; `time` is when it was last seen."""

    reason: str
    message: str
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Where a starting pod stands."""

    state: State
    reason: str
    message: str


def needs_events(pod: PodFacts, now: datetime) -> bool:
    """Return whether only the pod's events can say what keeps it from starting."""
    silent = pod.waiting_reason in ("", "ContainerCreating", "PodInitializing")
    waiting = pod.phase == "Pending" and not pod.running and not pod.unschedulable
    return waiting and silent and now - pod.created > PATIENCE


def refusal(message: str) -> Diagnosis:
    """Return what it means that the API server would not have a pod or its volume; a full quota empties itself."""
    if _QUOTA in message:
        return Diagnosis(State.PROGRESSING, Reason.QUOTA_EXCEEDED, message)
    return Diagnosis(State.BLOCKED, Reason.POD_REJECTED, message)


def diagnose(pod: PodFacts, warnings: Sequence[PodWarning], image: str) -> Diagnosis:
    """Return what a pod that has not started is waiting for."""
    return (
        _by_image(pod, image)
        or _by_config(pod)
        or _by_schedule(pod)
        or _by_events(warnings)
        or Diagnosis(State.PROGRESSING, Reason.STARTING, f"Pod '{pod.name}' is starting.")
    )


def _by_image(pod: PodFacts, image: str) -> Diagnosis | None:
    """The kubelet alternates between two reasons and many texts; ours stays the same, so nothing is rewritten."""
    if not pod.cannot_pull:
        return None
    text = f"Image '{image}' cannot be pulled. Check `image`, `imagePullSecrets` and the registry."
    return Diagnosis(State.BLOCKED, Reason.IMAGE_PULL_FAILED, text)


def _by_config(pod: PodFacts) -> Diagnosis | None:
    """The node cannot put the container together."""
    if pod.waiting_reason not in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        return None
    return _missing_secret(pod.waiting_message) or Diagnosis(
        State.BLOCKED, Reason.START_FAILED, f"The container cannot be started: {pod.waiting_message}"
    )


def _by_schedule(pod: PodFacts) -> Diagnosis | None:
    """No node has room, or none fits."""
    if not pod.unschedulable:
        return None
    return Diagnosis(State.PROGRESSING, Reason.UNSCHEDULABLE, f"No node takes the pod: {pod.unschedulable}")


def _by_events(warnings: Sequence[PodWarning]) -> Diagnosis | None:
    """What the node complained of last."""
    for warning in reversed(warnings):
        if found := _by_event(warning):
            return found
    return None


def _by_event(warning: PodWarning) -> Diagnosis | None:
    """Translate one warning event; most need no translation and most do not matter."""
    if warning.reason == "FailedMount":
        found = _missing_secret(warning.message)
        return found or Diagnosis(State.PROGRESSING, Reason.VOLUME_NOT_READY, warning.message)
    if warning.reason in ("FailedAttachVolume", "FailedBinding", "ProvisioningFailed"):
        return Diagnosis(State.PROGRESSING, Reason.VOLUME_NOT_READY, warning.message)
    if warning.reason == "FailedCreatePodSandBox":
        return Diagnosis(State.BLOCKED, Reason.START_FAILED, warning.message)
    return None


def _missing_secret(message: str) -> Diagnosis | None:
    """Recognise a reference to a Secret, or to a key in it, that does not exist."""
    if match := _MISSING_SECRET.search(message):
        text = f"Secret '{match[1]}' does not exist in this namespace. Create it and the session starts."
        return Diagnosis(State.BLOCKED, Reason.SECRET_NOT_FOUND, text)
    if match := _MISSING_KEY.search(message):
        key = (match[1] or match[2]).strip("'\"")
        text = f"The Secret has no key '{key}'. Add it and the session starts."
        return Diagnosis(State.BLOCKED, Reason.SECRET_NOT_FOUND, text)
    return None
