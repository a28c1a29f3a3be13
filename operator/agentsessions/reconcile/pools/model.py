"""What is known around one pool, and what one pass decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agentsessions.api.base import Json
from agentsessions.api.pool import AgentPool, AgentPoolStatus
from agentsessions.api.template import TemplateFields
from agentsessions.policies.hosts import HostFacts
from agentsessions.policies.startup import Diagnosis
from agentsessions.reconcile.model import Notice


@dataclass(frozen=True, slots=True)
class PoolSeen:
    """The pool's template, StatefulSet and hosts as the API server has them, and the sessions on each host.

    `loads` counts sessions by pod name, `waiting` those without a host, `heard` are hosts that tell of theirs,
    `capacities` are how many sessions a host holds at most, by pod name, where it has told that.
    `not_durable` counts sessions whose conversation is not in its store: until it is, no host is given up on purpose.
    `silent` are hosts that serve and have told this operator of no session yet: what they hold is not known.
    `trouble` is what keeps a host from starting.
    `written` is when figures were last written to status. `good` is the pod template that a rollout which fails
    is taken back to, as far as it is still known.
    """

    pool: AgentPool
    template: TemplateFields | None = None
    template_name: str = "default"
    template_problem: str = ""
    stateful_set: Json | None = None
    hosts: Sequence[HostFacts] = ()
    loads: Mapping[str, int] = field(default_factory=dict)
    capacities: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    not_durable: int = 0
    heard: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    trouble: Diagnosis | None = None
    written: datetime | None = None
    good: Json | None = None

    @property
    def waits_for_news(self) -> bool:
        """Whether hosts and budget stay as they are: one that has told nothing yet may hold what is nowhere else."""
        return bool(self.silent) and self.stateful_set is not None


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """The children that must be as they are here, the status that holds then, and when to look again.

    `lost` are hosts that went with their nodes: the StatefulSet makes no other as long as they are on the API server.
    """

    status: AgentPoolStatus
    children: tuple[Json, ...] = ()
    requeue: timedelta | None = None
    lost: tuple[HostFacts, ...] = ()
    notices: tuple[Notice, ...] = ()
