"""How pools and sessions go over to other settings and images, and what is known of that."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from agentsessions.api.base import ApiModel, cel, rule

_COUNT_RULE = "type(self) == int ? self >= 1 : self.matches('^([1-9][0-9]?|100)%$')"

CountOrPercent = Annotated[
    str,
    BeforeValidator(str),
    Field(
        max_length=8,
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            **cel(rule(_COUNT_RULE, "must be a whole number from 1 on or a percentage, for example 2 or 25%")),
        },
    ),
]
"""A number of hosts, or a share of them."""


class PoolRollout(ApiModel):
    """How hosts are replaced when their settings change, for example the agent image."""

    paused: bool = Field(
        False,
        description="Replace no host on purpose. To set it and take it back also has settings tried again that failed.",
    )
    max_unavailable: CountOrPercent | None = Field(
        None,
        description="Hosts that may be missing at the same time during a rollout: a number, or a percentage of the "
        "hosts, rounded down to 1 at least. Unset: 1. More than 1 needs Kubernetes 1.37, or its feature gate "
        "MaxUnavailableStatefulSet; without that hosts are replaced one by one.",
    )
    progress_deadline_seconds: int = Field(
        600,
        ge=1,
        le=86_400,
        description="How long a new host may take to become ready, from the start of its pod. After that the rollout "
        "has failed. The time that an old host takes to finish its turns does not count.",
    )
    on_failure: Literal["Rollback", "Pause"] = Field(
        "Rollback",
        description="What becomes of a rollout that failed. Rollback: hosts get the settings back with which all of "
        "them were last ready, and the others are not tried again until they change. Pause: no further host is "
        "replaced.",
    )


class PoolRolloutStatus(ApiModel):
    """Where the pool's rollout stands; revisions are hashes of settings, as in `templateHash`."""

    current_revision: str | None = Field(
        None,
        description="Settings with which all hosts were ready last; if they never were, those with which some were "
        "when they were changed for the first time.",
    )
    current_since: datetime | None = Field(None, description="When a rollout to `currentRevision` was through.")
    previous_revision: str | None = Field(
        None,
        description="Settings that hosts had before that rollout. For an hour they are gone back to if a container of "
        "the hosts ends again and again and no host serves undisturbed. Unset if there is nothing to go back to.",
    )
    target_revision: str | None = Field(None, description="Settings that template and spec ask for.")
    failed_revision: str | None = Field(
        None, description="Settings with which a host did not become ready in time. They are not tried again."
    )
    message: str | None = Field(None, max_length=1024, description="What kept that host from being ready.")


class SessionRollout(ApiModel):
    """What is known of the images of the session's own pods."""

    current_image: str | None = Field(None, description="Image of the pod that last served.")
    failed_image: str | None = Field(
        None,
        description="Image of the settings that did not start. It is tried again by the first message an hour later "
        "that finds the session asleep; another one that the settings name, at once.",
    )
    message: str | None = Field(None, max_length=1024, description="Why it did not start.")
