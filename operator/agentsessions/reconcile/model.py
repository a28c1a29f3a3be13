"""What passes between the steps of a reconciliation: what was seen, and what is to be done."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from agentsessions.api.base import Json
from agentsessions.api.session import AgentSession
from agentsessions.api.status import AgentSessionStatus
from agentsessions.api.template import TemplateFields
from agentsessions.policies.deadline import LAST_SECONDS
from agentsessions.policies.facts import PodFacts
from agentsessions.policies.startup import PodWarning


@dataclass(frozen=True, slots=True)
class Observed:
    """The world around one session, read from the API server in this pass.

    `template` is None if there is none; `template_name` is the one that was looked for.
    """

    session: AgentSession
    template: TemplateFields | None = None
    template_name: str = "default"
    template_problem: str = ""
    pods: Sequence[PodFacts] = ()
    warnings: Sequence[PodWarning] = ()

    @property
    def namespace(self) -> str:
        """Namespace of the session and all its children."""
        return self.session.metadata.namespace

    @property
    def own_pods(self) -> Sequence[PodFacts]:
        """The pods that the session owns; labels alone may be copied by anybody."""
        return [pod for pod in self.pods if pod.owner_uid == self.session.metadata.uid]


@dataclass(frozen=True, slots=True)
class Ensure:
    """Make sure that an object exists: read first where `look`, so that what is shared costs no write."""

    manifest: Json
    look: bool = False


@dataclass(frozen=True, slots=True)
class StartPod:
    """Create the pod of an attempt; its name makes a second one impossible."""

    manifest: Json


@dataclass(frozen=True, slots=True)
class StartOwner:
    """Create a pod, and then the Secret that it waits for and owns: it goes with the pod."""

    pod: Json
    secret: Json


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete exactly this pod, and only if it is still as it was seen where `unchanged`.

    `lost`: nobody will confirm its end, so that it is taken off the API server without. `soon`: its session is over, so
    that its turn gets nothing of a long grace period.
    """

    pod: PodFacts
    namespace: str
    unchanged: bool = False
    lost: bool = False
    soon: bool = False

    @property
    def grace(self) -> int | None:
        """Seconds of grace; None is what the pod says itself, which must not be exceeded either."""
        if self.lost:
            return 0
        return LAST_SECONDS if self.soon and self.pod.grace > LAST_SECONDS else None


@dataclass(frozen=True, slots=True)
class MarkPod:
    """Set labels and annotations of exactly this pod; None takes one off."""

    pod: PodFacts
    namespace: str
    labels: dict[str, str]
    annotations: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class DeleteSession:
    """Delete the session itself: its time to live is over."""

    session: AgentSession


@dataclass(frozen=True, slots=True)
class SetFinalizers:
    """Have the session carry exactly these finalizers, if it is as it was seen."""

    session: AgentSession
    finalizers: tuple[str, ...]


Action = Ensure | StartPod | StartOwner | DeletePod | MarkPod | DeleteSession | SetFinalizers


@dataclass(frozen=True, slots=True)
class Notice:
    """An event to show the user."""

    kind: Literal["Normal", "Warning"]
    reason: str
    action: str
    message: str


@dataclass(frozen=True, slots=True)
class Need:
    """What a plan that starts a pod needs its turn for: the pod's name, and how soon its session comes in line."""

    pod: str
    priority: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, the status that holds once it is done, and when to look again.

    With a `need` it is to be carried out only when it is the session's turn. `expired`: the session was just deleted.
    `refused` is what the API server would not have of what was to be done beside a pod that is there; the status holds
    without it.
    """

    status: AgentSessionStatus
    actions: tuple[Action, ...] = ()
    notices: tuple[Notice, ...] = ()
    requeue: timedelta | None = None
    need: Need | None = None
    expired: bool = False
    refused: str = ""

    def then(self, *actions: Action) -> "Plan":
        """Return the plan with further actions at its end."""
        return replace(self, actions=(*self.actions, *actions))

    def within(self, time: timedelta | None) -> "Plan":
        """Return the plan, to be looked at again after `time` at the latest."""
        waits = [one for one in (self.requeue, time) if one is not None]
        return replace(self, requeue=min(waits, default=None))
