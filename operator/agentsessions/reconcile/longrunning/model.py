"""What is known around one LongRunning session, and what one pass decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from agentsessions.api.host import Activation, HostSession
from agentsessions.api.pool import AgentPool
from agentsessions.api.session import AgentSession
from agentsessions.api.status import AgentSessionStatus
from agentsessions.api.template import TemplateFields
from agentsessions.policies.hosts import HostFacts
from agentsessions.reconcile.model import Notice

LOOK_AGAIN = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Around:
    """The pool, its template and hosts as the API server has them; loads, and what the session's host told of it.

    `loads` counts the other sessions of every host, by pod name. `not_now` are pods (by uid) that refused a session
    for want of room a moment ago, or that drain. `heard` is whether the session's host has told of its sessions at all:
    only then does the absence of `news` mean something. `written` is when figures were last written to status.
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
    written: datetime | None = None

    def pod(self, uid: str | None) -> HostFacts | None:
        """Return the host pod with that uid."""
        return next((host for host in self.hosts if host.uid == uid), None)


@dataclass(frozen=True, slots=True)
class Handover:
    """A session that is to be given to a host."""

    host: HostFacts
    activation: Activation


@dataclass(frozen=True, slots=True)
class Step:
    """What one pass decides: the status, what to tell the user, when to look again, and whether to call the host."""

    status: AgentSessionStatus
    notices: tuple[Notice, ...] = ()
    requeue: timedelta | None = None
    handover: Handover | None = None
    placed: str = ""

    def saying(self, *notices: Notice) -> "Step":
        """Return the step with further events."""
        return replace(self, notices=(*self.notices, *notices))
