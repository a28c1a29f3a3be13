"""What is known around one LongRunning session, and what one pass decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from agentsessions.api.bounds import SessionLimits
from agentsessions.api.host import Activation, HostSession
from agentsessions.api.pool import AgentPool
from agentsessions.api.session import AgentSession
from agentsessions.api.status import AgentSessionStatus
from agentsessions.api.template import TemplateFields
from agentsessions.policies.facts import PodFacts
from agentsessions.policies.hosts import HostFacts
from agentsessions.policies.startup import PodWarning
from agentsessions.reconcile.model import Action, Need, Notice

LOOK_AGAIN = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Around:
    """The pool, the template and hosts as the API server has them; loads, and what the session's host told of it.

    `loads` counts the other sessions of every host, by pod name. `not_now` are pods (by uid) that refused a session
    for want of room a moment ago, or that drain. `heard` is whether the session's host has told of its sessions at all:
    only then does the absence of `news` mean something. `drains`: it has begun to stop, by its own word. `written` is
    when figures were last written to status.

    A Hybrid session without a pool has hosts of its own: `pods` has the same pods as `hosts`, in more detail.
    `fork_from` is the uid of the session that it begins with a copy of. `cleanup` is the pod that removes what a
    session which is being deleted has stored. `host_pod` is the pod of the pool's host that it is on, in more detail;
    of that, or of a pod of its own, once it is gone: how it ended, as far as that was heard. `given_up` is whether the
    operator has taken the pool's host off the API server, since its node is not heard of. `killings` are the node's
    words on why it stopped the host's container, where that has ended anew; `restarted` is whether this pass has
    counted that already. `limits` are the session's bounds, as its host is told them, once the decision has begun.
    `cannot_pull_for` is how long its pod has been seen unable to pull its image.
    """

    session: AgentSession
    pool: AgentPool | None = None
    pool_name: str = ""
    template: TemplateFields | None = None
    template_name: str = "default"
    template_problem: str = ""
    hosts: Sequence[HostFacts] = ()
    loads: Mapping[str, int] = field(default_factory=dict)
    capacity: Mapping[str, int] = field(default_factory=dict)
    not_now: frozenset[str] = frozenset()
    news: HostSession | None = None
    heard: bool = False
    drains: bool = False
    written: datetime | None = None
    pods: Sequence[PodFacts] = ()
    warnings: Sequence[PodWarning] = ()
    fork_from: str | None = None
    fork_problem: str = ""
    cleanup: PodFacts | None = None
    host_pod: PodFacts | None = None
    given_up: bool = False
    killings: Sequence[PodWarning] = ()
    restarted: bool = False
    limits: SessionLimits = field(default_factory=SessionLimits)
    cannot_pull_for: timedelta = timedelta()

    def pod(self, uid: str | None) -> HostFacts | None:
        """Return the host pod with that uid."""
        return next((host for host in self.hosts if host.uid == uid), None)

    def knowing(self, status: AgentSessionStatus) -> "Around":
        """Return what is known with that status of the session."""
        return replace(self, session=self.session.model_copy(update={"status": status}))


@dataclass(frozen=True, slots=True)
class Handover:
    """A session that is to be given to a host."""

    host: HostFacts
    activation: Activation


@dataclass(frozen=True, slots=True)
class PutAway:
    """A session that its host is to put away; one that is not `patient` is left alone while it is busy.

    One that `moves` to another image waits for its turn.
    """

    host: HostFacts
    patient: bool
    moves: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What one pass decides: the status, what to tell the user, when to look again, and what to do for it.

    At most one of `handover` and `put_away`, the calls to a host; `actions` are for the API server, and come first.
    With a `need` it is to be carried out only when it is the session's turn.
    """

    status: AgentSessionStatus
    notices: tuple[Notice, ...] = ()
    requeue: timedelta | None = None
    handover: Handover | None = None
    placed: str = ""
    put_away: PutAway | None = None
    actions: tuple[Action, ...] = ()
    need: Need | None = None

    def saying(self, *notices: Notice) -> "Step":
        """Return the step with further events."""
        return replace(self, notices=(*self.notices, *notices))

    def within(self, time: timedelta) -> "Step":
        """Return the step, to be looked at again after `time` at the latest."""
        return replace(self, requeue=time if self.requeue is None else min(self.requeue, time))
