"""AgentPool: hosts that hold many long-running sessions each."""

from datetime import datetime

from pydantic import ConfigDict, Field

from agentsessions.api.base import ATOMIC, ApiModel, Quantity, cel, keyed_by, rule
from agentsessions.api.rollout import PoolRollout, PoolRolloutStatus
from agentsessions.api.session import ObjectMeta
from agentsessions.api.status import Condition
from agentsessions.api.storage import LocalReference

DEFAULT_PER_SESSION_MEMORY = "300Mi"
DEFAULT_OVERHEAD_MEMORY = "256Mi"
DEFAULT_SESSIONS_PER_HOST = 10


class PoolAutoscaling(ApiModel):
    """The operator chooses the number of hosts by the number of sessions."""

    min_replicas: int = Field(1, ge=1, le=1000, description="Fewest hosts.")
    max_replicas: int = Field(ge=1, le=1000, description="Most hosts.")
    target_utilization_percent: int = Field(
        80, ge=1, le=100, description="How full hosts may be on average before another is added."
    )
    scale_down_delay_seconds: int = Field(
        300, ge=0, le=86_400, description="How long a host must have been unneeded and empty before it is removed."
    )

    model_config = ConfigDict(
        json_schema_extra=cel(
            rule("self.minReplicas <= self.maxReplicas", "`minReplicas` must not be greater than `maxReplicas`")
        )
    )


class AgentPoolSpec(ApiModel):
    """Hosts made from a template, each for a number of sessions."""

    template_ref: LocalReference | None = Field(
        None,
        description="AgentTemplate of the hosts: image, model, agent options, network. "
        "Unset: the template called `default` in this namespace, if there is one.",
    )
    replicas: int = Field(
        1, ge=0, le=1000, description="Number of hosts; also what `kubectl scale` sets. Ignored with `autoscaling`."
    )
    sessions_per_host: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Sessions that one host holds at most; its memory is then `overheadMemory` + this times "
        "`perSessionMemory`. Unset: as many as fit into `hostMemory`, or 10.",
    )
    host_memory: Quantity | None = Field(
        None, description="Memory of one host. It then holds (this - `overheadMemory`) / `perSessionMemory` sessions."
    )
    per_session_memory: Quantity = Field(
        DEFAULT_PER_SESSION_MEMORY,
        description="Ceiling of one session's memory: its peak in a representative conversation, tools included.",
    )
    overhead_memory: Quantity = Field(DEFAULT_OVERHEAD_MEMORY, description="Memory of a host beside its sessions.")
    implicit_sessions: bool = Field(
        False,
        description="Also serve ids that have no AgentSession: the first message makes the session, on the host that "
        "the id is hashed to. Each user has ids of their own.",
    )
    load_factor: str = Field(
        "1.25",
        max_length=6,
        pattern=r"^([1-9]|10)(\.[0-9]{1,3})?$",
        description="No host gets more than this times the average number of sessions (consistent hashing with "
        "bounded loads).",
    )
    max_queued_messages: int = Field(
        8, ge=0, le=1000, description="Messages that may wait for the running turn of one session; more get 429."
    )
    drain_seconds: int = Field(
        120, ge=1, le=86_400, description="How long a host that is told to stop may take to finish running turns."
    )
    autoscaling: PoolAutoscaling | None = Field(None, description="Let the operator choose the number of hosts.")
    rollout: PoolRollout | None = Field(
        None, description="How hosts are replaced when their settings change. Unset: one by one, and back on failure."
    )

    model_config = ConfigDict(
        json_schema_extra=cel(
            rule(
                "!(has(self.sessionsPerHost) && has(self.hostMemory))",
                "must not have both `sessionsPerHost` and `hostMemory`: each follows from the other",
            )
        )
    )

    @property
    def rolling(self) -> PoolRollout:
        """How hosts are replaced."""
        return self.rollout or PoolRollout()


class PoolCapacity(ApiModel):
    """How many sessions fit."""

    sessions_per_host: int = Field(0, ge=0, description="Sessions that one host holds at most.")
    host_memory: str | None = Field(None, description="Memory of one host.")
    sessions: int = Field(0, ge=0, description="Sessions that all ready hosts hold at most.")


class PoolHost(ApiModel):
    """One host."""

    name: str = Field(description="Name of the pod; the same after a restart.")
    pod_uid: str = Field(alias="podUID", description="Uid of the pod.")
    node: str | None = Field(None, description="Node that it runs on.")
    ready: bool = Field(False, description="Whether it takes sessions.")
    sessions: int = Field(0, ge=0, description="Sessions that it holds.")


class AgentPoolStatus(ApiModel):
    """Where the pool stands."""

    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        description="Ready: enough hosts take sessions. Reconciling: hosts are made or replaced. Stalled: the pool "
        "cannot go on. Progressing: False if a rollout failed, Unknown while one is paused, else absent.",
        json_schema_extra=keyed_by("type"),
    )
    observed_generation: int | None = Field(None, ge=0, description="Generation of the spec that this status is about.")
    replicas: int = Field(0, ge=0, description="Hosts that exist.")
    ready_replicas: int = Field(0, ge=0, description="Hosts that take sessions.")
    desired_replicas: int = Field(0, ge=0, description="Hosts that there should be.")
    updated_replicas: int = Field(0, ge=0, description="Hosts made from the settings of `templateHash`.")
    selector: str = Field("", description="Label selector of the hosts, for HorizontalPodAutoscalers.")
    sessions: int = Field(0, ge=0, description="Sessions on all hosts.")
    capacity: PoolCapacity | None = Field(None, description="How many sessions fit.")
    hosts: list[PoolHost] = Field(
        default_factory=list, max_length=1000, description="The hosts, by name.", json_schema_extra=ATOMIC
    )
    template_hash: str | None = Field(None, description="Hash of the settings that hosts are made from.")
    rollout: PoolRolloutStatus | None = Field(None, description="Where a change of the settings stands.")
    fewer_since: datetime | None = Field(
        None, description="Since when fewer hosts would do; see `autoscaling.scaleDownDelaySeconds`."
    )

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of that type, if it is set."""
        return next((c for c in self.conditions if c.type == kind), None)


class AgentPool(ApiModel):
    """A pool as it stands in the cluster."""

    metadata: ObjectMeta
    spec: AgentPoolSpec = AgentPoolSpec()
    status: AgentPoolStatus = AgentPoolStatus()

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name
