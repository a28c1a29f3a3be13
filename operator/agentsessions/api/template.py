"""How agents of a kind run: the block that AgentTemplate, AgentSession and the chart's `defaults` share.

No field has a schema default here: an absent field means "ask the next level" (session, template, operator).
"""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from agentsessions.api.agent import AgentOptions
from agentsessions.api.base import (
    ATOMIC,
    ApiModel,
    EnvName,
    Quantity,
    ResourceName,
    cel,
    keyed_by,
    rule,
)
from agentsessions.api.storage import EgressPeers, LabelValue, LocalReference, SessionStore, WorkspaceArchive

KEY_VARIABLES = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
"""Variables in which the CLI looks for a key; no agent pod carries one."""

Disruption = Literal["Safe", "AtTurnBoundary", "Never"]
DEFAULT_DISRUPTION: Disruption = "AtTurnBoundary"
_RESERVED_LIST = ", ".join(f"'{name}'" for name in KEY_VARIABLES)


class EnvVar(ApiModel):
    """One environment variable with a literal value."""

    name: EnvName = Field(description="Name of the variable.")
    value: str = Field(max_length=4096, description="Its value. Not for secrets: it is readable in the pod.")


class Toleration(ApiModel):
    """A toleration, as in a pod's `tolerations`."""

    key: str | None = Field(None, max_length=316, description="Taint key that is tolerated; empty means all keys.")
    operator: Literal["Exists", "Equal"] | None = Field(
        None, description="How the key relates to the value: Exists or Equal (the default)."
    )
    value: str | None = Field(None, max_length=63, description="Taint value that is tolerated, for Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Taint effect that is tolerated; empty means all effects."
    )
    toleration_seconds: int | None = Field(
        None, ge=0, le=2_147_483_647, description="For NoExecute: how long to stay, in seconds; empty is for ever."
    )


class ResourceRequests(ApiModel):
    """What the scheduler sets aside, where it should differ from the rule."""

    cpu: Quantity | None = Field(None, description="CPU to set aside. Unset: a quarter of the limit.")
    memory: Quantity | None = Field(None, description="Memory to set aside. Unset: the limit.")
    ephemeral_storage: Quantity | None = Field(None, description="Disk to set aside. Unset: the limit.")


class Resources(ApiModel):
    """What one agent may use. An agent over its memory is killed, over its disk is evicted; CPU is throttled."""

    cpu: Quantity | None = Field(None, description="CPU limit, for example 1 or 500m. Built-in default: 1.")
    memory: Quantity | None = Field(None, description="Memory limit. Built-in default: 1Gi.")
    ephemeral_storage: Quantity | None = Field(
        None,
        description="Limit of the pod's local disk: workspace without `workspace.storage`, "
        "home, temporary files and logs. Built-in default: 5Gi.",
    )
    requests: ResourceRequests | None = Field(None, description="What to set aside instead of what the rule says.")


class Workspace(ApiModel):
    """Where the working directory and the agent's state live."""

    storage: Quantity | None = Field(
        None,
        description="Size of a PersistentVolumeClaim for /workspace and the transcript, kept across restarts. "
        "Unset: a local directory that goes with the pod.",
    )
    storage_class_name: ResourceName | None = Field(
        None, description="StorageClass of the claim. Unset: the cluster's default class."
    )
    archive: WorkspaceArchive | None = Field(
        None, description="Keep the workspace in a bucket while a Hybrid session sleeps, instead of on a volume."
    )

    model_config = ConfigDict(
        json_schema_extra=cel(
            rule("!(has(self.storage) && has(self.archive))", "must not have both `storage` and `archive`")
        )
    )


class Security(ApiModel):
    """How the pod is kept apart from its node."""

    runtime_class_name: ResourceName | None = Field(
        None, description="RuntimeClass of the pod, for example gvisor or kata. Unset: the node's default."
    )
    host_users: bool | None = Field(
        None, description="False runs the pod in a user namespace of its own, where nodes support it."
    )


class ModelEndpoint(ApiModel):
    """Where the agent's model calls go. The endpoint adds the API key: the pod never holds one."""

    base_url: str | None = Field(
        None,
        max_length=2048,
        pattern=r"^https?://[^\s@]+$",
        description="Base URL of a Messages API, for example http://egress.agentsessions-system.svc:8080.",
    )
    egress: EgressPeers | None = Field(
        None, description="What the NetworkPolicy must let through so that `baseUrl` can be reached."
    )


class NetworkAccess(ApiModel):
    """What the agent may reach beside DNS and the model endpoint."""

    egress: EgressPeers | None = Field(None, description="Further destinations. Everything else is dropped.")


class Limits(ApiModel):
    """Bounds on the session as a whole."""

    active_deadline_seconds: int | None = Field(
        None,
        ge=1,
        le=31_536_000,
        description="Wall-clock seconds after which the session is stopped, counted from when a node first took its "
        "pod; retries and the pull of the image are included. Built-in default: 3600. Ephemeral sessions only.",
    )
    turn_deadline_seconds: int | None = Field(
        None,
        ge=1,
        le=31_536_000,
        description="LongRunning and Hybrid sessions only: wall-clock seconds that the answer to one message may take. "
        "A turn that takes longer is interrupted, its client is told, and the next message goes on. Unset: no bound.",
    )
    max_session_turns: int | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="LongRunning and Hybrid sessions only: greatest number of model turns in the session's whole life. "
        "It is looked at between messages, so the last one may go beyond it, by `agent.maxTurns` at most. Then the "
        "session is Stalled (TurnLimitReached) and refuses messages until this is raised. Unset: no bound.",
    )
    max_age_seconds: int | None = Field(
        None,
        ge=1,
        le=315_360_000,
        description="LongRunning and Hybrid sessions only: age from which on the session takes no more messages. A "
        "turn that runs is finished; then the session is Stalled (AgeLimitReached) until this is raised. Unset: no "
        "bound.",
    )
    start_deadline_seconds: int | None = Field(
        None,
        ge=1,
        le=31_536_000,
        description="Seconds that a pod of the session's own may take to start: to find a node, a volume, its image. "
        "After that an Ephemeral session fails, and a Hybrid one gives its pod up until the next message, with the "
        "reason StartDeadlineExceeded and what the pod was waiting for. Unset: it waits as long as it takes.",
    )
    recycle_memory: Quantity | None = Field(
        None,
        description="LongRunning and Hybrid sessions only: replace the agent's process at the end of a turn once it "
        "and its children hold this much memory; the conversation goes on in the new one. Unset: the pool's "
        "`perSessionMemory`, if there is a pool.",
    )
    recycle_age_seconds: int | None = Field(
        None,
        ge=1,
        le=31_536_000,
        description="LongRunning and Hybrid sessions only: replace the agent's process at the end of a turn once it is "
        "so old.",
    )


class TemplateFields(ApiModel):
    """The fields that a session, its template and the operator's defaults have in common."""

    image: str | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="Container image of the agent. See the image contract in the docs.",
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        None, description="When the node pulls the image, as in a pod."
    )
    image_pull_secrets: list[LocalReference] | None = Field(
        None, max_length=16, description="Secrets for pulling the image.", json_schema_extra=keyed_by("name")
    )
    agent: AgentOptions | None = Field(None, description="Model, instructions, tools and their bounds.")
    resources: Resources | None = Field(None, description="CPU, memory and disk of one agent.")
    workspace: Workspace | None = Field(None, description="Where the working directory lives.")
    security: Security | None = Field(None, description="How the pod is kept apart from its node.")
    model_endpoint: ModelEndpoint | None = Field(None, description="Where model calls go.")
    network_policy: NetworkAccess | None = Field(None, description="What the agent may reach beside the model.")
    session_store: SessionStore | None = Field(
        None,
        description="Where the conversation is kept beside the pod's own disk. Required for Hybrid sessions; "
        "LongRunning ones can move between hosts with it. Ephemeral ones do not use it.",
    )
    idle_timeout_seconds: int | None = Field(
        None,
        ge=5,
        le=31_536_000,
        description="Hybrid sessions only: how long after its last turn a session falls asleep. Open streams, running "
        "turns and background work keep it awake. Built-in default: 900.",
    )
    ttl_seconds_after_idle: int | None = Field(
        None,
        ge=0,
        le=31_536_000,
        description="Hybrid sessions only: delete the session once it has slept for this many seconds without a "
        "message; one that nobody ever woke counts from its creation. `sessionStore.onDelete` says what becomes of its "
        "conversation. One that is suspended, or that cannot wake (Stalled), is kept, and has its whole time when that "
        "ends. 0: keep it until you delete it, as without a value.",
        json_schema_extra=cel(rule("self == 0 || self >= 5", "must be 0, for a session that is kept, or at least 5")),
    )
    limits: Limits | None = Field(None, description="Bounds on the session as a whole.")
    content_logging: Literal["Omit", "Include"] | None = Field(
        None, description="Whether the pod's log shows what the agent says and passes to tools. Built-in default: Omit."
    )
    prompt_environment_variable: EnvName | None = Field(
        None,
        description="Also put the prompt into this environment variable, for images that read it there "
        "(for example TASK_PROMPT). The value stays in a Secret.",
        json_schema_extra=cel(
            rule(f"!(self in [{_RESERVED_LIST}])", "must not be a variable that carries a model key, use TASK_PROMPT")
        ),
    )
    env: list[EnvVar] | None = Field(
        None,
        max_length=64,
        description="Further environment variables of the agent's container.",
        json_schema_extra=keyed_by("name")
        | cel(
            rule(
                f"self.all(e, !(e.name in [{_RESERVED_LIST}]))",
                "must not carry a model key: the model endpoint adds it, see `modelEndpoint`",
            )
        ),
    )
    node_selector: dict[str, LabelValue] | None = Field(
        None, max_length=32, description="Labels of the nodes to run on."
    )
    tolerations: list[Toleration] | None = Field(
        None, max_length=32, description="Taints that the pod tolerates.", json_schema_extra=ATOMIC
    )
    priority: int | None = Field(
        None,
        ge=-1_000_000,
        le=1_000_000,
        description="Who comes first when sessions of the namespace wait for a place to start in (reason Queued): the "
        "higher number, among equals who waits longer. Not the pod's priority, see `priorityClassName`. Default: 0.",
    )
    priority_class_name: ResourceName | None = Field(None, description="PriorityClass of the pod.")
    disruption: Disruption | None = Field(
        None,
        description="What node drains, autoscalers and the like may do to the pod. Safe: evict it at any time; a "
        "running turn is interrupted at once. AtTurnBoundary: evict it; a running turn may end within "
        "`terminationGracePeriodSeconds`, and is interrupted 20 seconds before that is over (on a pool's host: within "
        "`drainSeconds`). "
        "The turn of an Ephemeral session is its whole task. "
        "Never: not evict it; nothing protects from a node that is lost or short of memory or disk. A change holds for "
        "pods that run, too. Built-in default: AtTurnBoundary.",
    )
    termination_grace_period_seconds: int | None = Field(
        None,
        ge=0,
        le=86_400,
        description="Seconds between the request to stop and the kill. The pod of an Ephemeral session that has "
        "outlived its deadline by a minute has 20 at most; the agent of one that is deleted is told to end its turn. "
        "Built-in default: 30.",
    )


class AgentTemplateSpec(TemplateFields):
    """How agents of this kind run; a session names the template, or gets the one called `default`."""


class AgentTemplate(ApiModel):
    """A template as it stands in the cluster."""

    metadata: dict[str, Any]
    spec: AgentTemplateSpec = AgentTemplateSpec()
