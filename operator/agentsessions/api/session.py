"""AgentSession: one conversation with a workspace; what users write in `spec`."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field

from agentsessions.api.base import ApiModel, cel, rule
from agentsessions.api.status import AgentSessionStatus
from agentsessions.api.template import LocalReference, TemplateFields

_IMMUTABLE = ("prompt", "promptSecretRef", "templateRef", "workspace")


def _stays(field: str) -> dict[str, str]:
    """Return the rule that `field` can neither change, nor be removed, nor be added later."""
    expression = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
    return rule(expression, f"`{field}` must not change after creation: create a new session instead")


class SecretKeyReference(LocalReference):
    """One key of a Secret in the same namespace."""

    key: str = Field(
        min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$", description="Key in the Secret's data."
    )


class AgentSessionSpec(TemplateFields):
    """What the session is asked to do, and how it runs where that should differ from its template."""

    pattern: Literal["Ephemeral"] = Field(
        description="How the session lives. Ephemeral: one pod for one task, gone when the task is done.",
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
    restart_policy: Literal["OnFailure", "Never"] = Field(
        "OnFailure",
        description="OnFailure: an attempt that failed for a passing reason, or was evicted, is followed by another. "
        "Never: one attempt at most, whatever happens to it.",
    )
    backoff_limit: int = Field(
        3,
        ge=0,
        le=100,
        description="How many failed attempts are retried. Evictions and lost nodes are not failures and do not count.",
    )
    ttl_seconds_after_finished: int | None = Field(
        None,
        ge=0,
        le=31_536_000,
        description="Delete the session this many seconds after it finished. Unset: keep it until you delete it.",
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


class AgentSession(ApiModel):
    """A session as it stands in the cluster."""

    metadata: ObjectMeta
    spec: AgentSessionSpec
    status: AgentSessionStatus = AgentSessionStatus()

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name
