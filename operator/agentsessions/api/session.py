"""AgentSession: one conversation with a workspace; what users write in `spec`."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field

from agentsessions.api.base import ApiModel, cel, keyed_by, rule
from agentsessions.api.status import AgentSessionStatus
from agentsessions.api.storage import LocalReference
from agentsessions.api.template import TemplateFields

_IMMUTABLE = ("prompt", "promptSecretRef", "templateRef", "workspace", "poolRef", "sessionStore", "forkFrom")
_OF_THE_POOL = (
    "image",
    "imagePullPolicy",
    "imagePullSecrets",
    "resources",
    "workspace",
    "security",
    "modelEndpoint",
    "networkPolicy",
    "promptEnvironmentVariable",
    "env",
    "nodeSelector",
    "tolerations",
    "priorityClassName",
    "terminationGracePeriodSeconds",
    "disruption",
    "templateRef",
    "sessionStore",
)
"""What a session on a shared host cannot choose for itself."""


def _stays(field: str) -> dict[str, str]:
    """Return the rule that `field` can neither change, nor be removed, nor be added later."""
    expression = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
    return rule(expression, f"`{field}` must not change after creation: create a new session instead")


class SecretKeyReference(LocalReference):
    """One key of a Secret in the same namespace."""

    key: str = Field(
        min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$", description="Key in the Secret's data."
    )


class SessionPort(ApiModel):
    """A port on which the agent itself serves, for example the web site that it builds."""

    name: str = Field(
        min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", description="Name of the port."
    )
    port: int = Field(ge=1024, le=65535, description="TCP port on 127.0.0.1 or all addresses of the pod.")


class AgentSessionSpec(TemplateFields):
    """What the session is asked to do, and how it runs where that should differ from its template."""

    pattern: Literal["Ephemeral", "LongRunning", "Hybrid"] = Field(
        description="How the session lives. Ephemeral: one pod for one task, gone when the task is done. "
        "LongRunning: a conversation on a host of an AgentPool, which it shares with others. Hybrid: a conversation "
        "that falls asleep when it is idle, holds no pod then, and goes on where it was at the next message; it needs "
        "a `sessionStore`, here or in its template.",
        json_schema_extra=cel(rule("self == oldSelf", "must not change after creation: create a new session instead")),
    )
    prompt: str | None = Field(
        None,
        min_length=1,
        max_length=262_144,
        description="The task, in words. Who may read this resource may read the prompt; see `promptSecretRef`.",
    )
    prompt_secret_ref: SecretKeyReference | None = Field(
        None, description="Take the prompt from a Secret instead, mounted by the node; the operator never reads it."
    )
    template_ref: LocalReference | None = Field(
        None,
        description="AgentTemplate that fills in what this session leaves out. "
        "Unset: the template called `default` in this namespace, if there is one.",
    )
    pool_ref: LocalReference | None = Field(
        None,
        description="AgentPool on whose hosts a LongRunning session lives; required for it. A Hybrid session with one "
        "wakes on a host of the pool, without one in a pod of its own.",
    )
    ports: list[SessionPort] | None = Field(
        None,
        max_length=16,
        description="Ports of the agent's own servers that the gateway may reach.",
        json_schema_extra=keyed_by("name"),
    )
    on_missing_transcript: Literal["Fail", "StartFresh"] = Field(
        "Fail",
        description="What to do when the conversation so far cannot be found whole after a move, a restart or a sleep. "
        "Fail: stop and say so (Stalled; TranscriptMissing, TranscriptTruncated or TranscriptDiverged). StartFresh: go "
        "on with what there is, and say so (Resumed=False).",
    )
    on_interrupted_turn: Literal["Report", "Continue"] = Field(
        "Report",
        description="What to do about a turn that the loss of a pod cut, once a Hybrid or LongRunning session goes on. "
        "Report: say so (event TurnInterrupted, header of the next stream) and wait for a message. Continue: ask the "
        "agent to go on. The cut message itself is never sent twice.",
    )
    suspended: bool | None = Field(
        None,
        description="Hybrid sessions only. True: let the running turn end, keep the conversation, hold no pod, and "
        "refuse messages until it is false again. Falling asleep for want of work never writes this.",
    )
    fork_from: LocalReference | None = Field(
        None,
        description="Hybrid sessions only: begin with a copy of the conversation (and the archived workspace) of this "
        "session of the same namespace, which must use the same store, and must be there until the first turn ended.",
    )
    restart_policy: Literal["OnFailure", "Never"] = Field(
        "OnFailure",
        description="Ephemeral sessions only. OnFailure: an attempt that failed for a passing reason, or was evicted, "
        "is followed by another. Never: one attempt at most, whatever happens to it.",
    )
    backoff_limit: int = Field(
        3,
        ge=0,
        le=100,
        description="How many failed attempts are retried. Evictions and lost nodes are not failures and do not count. "
        "For a Hybrid session in a pod of its own: how many crashes of its container in a row are followed by another "
        "start; one more, and it stops (Stalled, BackoffLimitExceeded) until a message comes.",
    )
    ttl_seconds_after_finished: int | None = Field(
        None,
        ge=0,
        le=31_536_000,
        description="Ephemeral sessions only: delete the session this many seconds after it finished. Unset: keep it "
        "until you delete it.",
    )
    pod_retention_policy: Literal["Delete", "Retain"] = Field(
        "Delete", description="Whether the pod of a finished session is deleted or kept, for example for its log."
    )

    model_config = ConfigDict(
        json_schema_extra=cel(
            rule(
                "self.pattern != 'Ephemeral' || has(self.prompt) != has(self.promptSecretRef)",
                "an Ephemeral session must have exactly one of `prompt` and `promptSecretRef`",
            ),
            rule(
                "self.pattern == 'Ephemeral' || !(has(self.prompt) || has(self.promptSecretRef))",
                "a LongRunning or Hybrid session must have no `prompt`: send it messages through the gateway",
            ),
            rule(
                "self.pattern != 'LongRunning' || has(self.poolRef)",
                "`poolRef` must be set for a LongRunning session",
            ),
            rule(
                "self.pattern != 'Ephemeral' || !has(self.poolRef)",
                "`poolRef` must not be set for an Ephemeral session",
            ),
            rule(
                "self.pattern == 'Hybrid' || "
                "!(has(self.suspended) || has(self.forkFrom) || has(self.idleTimeoutSeconds) "
                "|| has(self.ttlSecondsAfterIdle))",
                "`suspended`, `forkFrom`, `idleTimeoutSeconds` and `ttlSecondsAfterIdle` must not be set unless the "
                "session is Hybrid",
            ),
            rule(
                f"!has(self.poolRef) || !({' || '.join(f'has(self.{field})' for field in _OF_THE_POOL)})",
                "a session with `poolRef` shares its host: image, resources, workspace, store, network and placement "
                "must be set in the pool's AgentTemplate",
            ),
            rule(
                "self.pattern == 'Ephemeral' || !has(self.ttlSecondsAfterFinished)",
                "`ttlSecondsAfterFinished` must not be set unless the session is Ephemeral: others never finish "
                "(`ttlSecondsAfterIdle` deletes a Hybrid session that sleeps)",
            ),
            rule(
                "!has(self.poolRef) || !(has(self.priority) || "
                "has(self.limits) && has(self.limits.startDeadlineSeconds))",
                "`priority` and `limits.startDeadlineSeconds` must not be set with `poolRef`: no pod is started",
            ),
            *(_stays(field) for field in _IMMUTABLE),
        )
    )


class ObjectMeta(ApiModel):
    """The part of `metadata` that decisions are made on."""

    name: str
    namespace: str
    uid: str
    generation: int = 1
    resource_version: str = ""
    creation_timestamp: datetime
    deletion_timestamp: datetime | None = None
    finalizers: tuple[str, ...] = ()


class AgentSession(ApiModel):
    """A session as it stands in the cluster."""

    metadata: ObjectMeta
    spec: AgentSessionSpec
    status: AgentSessionStatus = AgentSessionStatus()

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name

    @property
    def has_own_pod(self) -> bool:
        """Whether the session runs in a pod that is made for it, rather than on a host of a pool."""
        return self.spec.pool_ref is None

    @property
    def lasts(self) -> bool:
        """Whether the session is talked to for as long as it exists, rather than done with a task."""
        return self.spec.pattern != "Ephemeral"
