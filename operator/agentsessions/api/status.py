"""What a user reads of a session: conditions first, then facts. Written by the operator only, in one write a pass."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from agentsessions.api.base import ApiModel, Json, keyed_by
from agentsessions.api.rollout import SessionRollout

ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(ApiModel):
    """One observation about the session, in the form that kubectl, kstatus, Flux and Argo CD read."""

    type: str = Field(
        max_length=316,
        description="Ready, Reconciling, Stalled, Active, Succeeded, Resumed, TranscriptDurable or Progressing.",
    )
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: str = Field(min_length=1, max_length=1024, description="Why, in one CamelCase word.")
    message: str = Field(max_length=32768, description="Why, in a sentence for a person.")
    last_transition_time: datetime = Field(description="When `status` last changed.")
    observed_generation: int | None = Field(None, ge=0, description="Generation of the spec that this is about.")


class Resolved(ApiModel):
    """What the session runs with, once session, template and the operator's defaults are merged."""

    template: str | None = Field(None, description="AgentTemplate that was used, if any.")
    template_hash: str | None = Field(
        None, description="Hash of the merged fields; it changes when one does that pod or agent are made from."
    )
    image: str | None = Field(None, description="Container image.")
    model: str | None = Field(None, description="Model; unset means the agent image's own default.")
    model_base_url: str | None = Field(None, description="Where model calls go.")
    max_turns: int | None = Field(None, description="Greatest number of turns for one prompt.")
    cpu: str | None = Field(None, description="CPU limit.")
    memory: str | None = Field(None, description="Memory limit.")
    ephemeral_storage: str | None = Field(None, description="Local disk limit.")
    storage: str | None = Field(None, description="Size of the workspace's claim; unset means a local directory.")
    runtime_class_name: str | None = Field(None, description="RuntimeClass of the pod.")
    active_deadline_seconds: int | None = Field(None, description="Wall-clock bound of the session, in seconds.")
    turn_deadline_seconds: int | None = Field(None, description="Wall-clock bound of one turn, in seconds.")
    max_session_turns: int | None = Field(None, description="Greatest number of turns in the session's life.")
    max_age_seconds: int | None = Field(None, description="Age from which on no messages are taken, in seconds.")
    start_deadline_seconds: int | None = Field(None, description="Bound on the start of each pod, in seconds.")
    disruption: str | None = Field(None, description="What node drains and the like may do to its pod.")


class Host(ApiModel):
    """Where the session is, or was last."""

    pod: str = Field(description="Name of the pod.")
    pod_uid: str | None = Field(None, alias="podUID", description="Its uid: a name can be used again, a uid cannot.")
    node: str | None = Field(None, description="Node that the pod is bound to.")
    terminations: int | None = Field(
        None, ge=0, description="How often the container of that pod has ended, as far as this status tells of it."
    )
    oom_kills: int | None = Field(
        None,
        ge=0,
        description="Processes of the agent that were killed for want of memory since that container last began, as "
        "far as this status tells of it.",
    )


class Queue(ApiModel):
    """Where the session stands among those of its namespace that wait for a place to start in."""

    position: int = Field(
        ge=1,
        description="How many are to start until this one has, itself included: 1 is next. Written at most once a "
        "minute, and whenever it has halved.",
    )
    priority: int = Field(0, description="The session's `priority` after merging.")
    reason: str = Field(
        max_length=256, description="Which bound is reached, for example: namespace team-a runs 50 of 50."
    )
    since: datetime = Field(description="Since when it waits; among equal priorities the earliest is first.")


class Usage(ApiModel):
    """What the session has used, over all attempts that could report."""

    turns: int = Field(0, description="Model turns, as the SDK counts them.")
    input_tokens: int = Field(0, description="Tokens sent that were not cached.")
    output_tokens: int = Field(0, description="Tokens received.")
    cache_read_tokens: int = Field(0, description="Tokens read from the prompt cache.")
    cache_creation_tokens: int = Field(0, description="Tokens written to the prompt cache.")
    cost_usd: str = Field("0", description="Price of all this in US dollars, by the SDK's price list.")


class Transcript(ApiModel):
    """How far the conversation goes, so that a resume can be held against it."""

    entries: int = Field(0, ge=0, description="Entries of the transcript at the end of the last turn.")
    last_entry_digest: str | None = Field(
        None, max_length=80, description="sha256 of the last of them, as canonical JSON."
    )
    store: str | None = Field(None, max_length=32, description="Type of the store that holds it too, if there is one.")


class Archive(ApiModel):
    """The workspace as it was packed when the session last fell asleep."""

    generation: int = Field(0, ge=0, description="Number of the packing.")
    size: int = Field(0, ge=0, description="Bytes in the bucket.")
    digest: str = Field("", max_length=80, description="sha256 of the archive.")


class Result(ApiModel):
    """What the agent answered at the end."""

    text: str = Field("", description="The final answer.")
    truncated: bool = Field(False, description="True if the answer was too long to be kept whole here.")
    structured: Json | None = Field(
        None,
        description="The answer by `agent.outputSchema`.",
        json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    )
    stop_reason: str | None = Field(None, description="Why the model stopped.")


class Termination(ApiModel):
    """How an attempt, a pod, a container or the agent's process ended that should not have."""

    reason: str = Field(description="Why, in one CamelCase word, for example OOMKilled.")
    message: str = Field("", description="Why, in a sentence for a person.")
    exit_code: int | None = Field(
        None,
        description="Exit code of the agent's container, or of the agent's process where it ended alone; 128 + n by "
        "signal n.",
    )
    finished_at: datetime | None = Field(None, description="When it ended.")
    pod: str = Field(description="Pod of that attempt.")
    pod_uid: str = Field(alias="podUID", description="Uid of that pod.")
    node: str | None = Field(None, description="Node that it ran on.")
    in_place: bool | None = Field(
        None, description="True if the pod stayed: its container, or the agent's process in it, is started again there."
    )


class AgentSessionStatus(ApiModel):
    """Where the session stands."""

    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        description="Ready: running, or finished well. Reconciling: the operator is at work. Stalled: it cannot go on. "
        "Active: an agent is running. Succeeded: True or False once finished. Resumed: whether a conversation that "
        "was moved or restarted has its history. TranscriptDurable: whether the session store has all of it. "
        "Progressing: False while the image of its settings does not start and a former one is used, else absent.",
        json_schema_extra=keyed_by("type"),
    )
    observed_generation: int | None = Field(None, ge=0, description="Generation of the spec that this status is about.")
    session_id: str | None = Field(None, description="The SDK's session id, a UUID. It never changes.")
    resolved: Resolved | None = Field(None, description="What the session runs with after merging.")
    host: Host | None = Field(None, description="Where the session is, or was last.")
    queue: Queue | None = Field(None, description="Where it stands in the queue, while it waits in one.")
    endpoint: str | None = Field(None, description="Path at the gateway under which the session is talked to.")
    usage: Usage | None = Field(None, description="Turns, tokens and cost.")
    transcript: Transcript | None = Field(None, description="How far the conversation goes.")
    last_activity_time: datetime | None = Field(
        None, description="When something last happened in the conversation; written at most once a minute."
    )
    last_request_time: datetime | None = Field(
        None, description="When the gateway last asked for the session to wake. Written by the gateway only."
    )
    answered_request_time: datetime | None = Field(
        None, description="The `lastRequestTime` that the session was last woken for; another one wakes it."
    )
    suspend_time: datetime | None = Field(
        None,
        description="When the session last fell asleep. The end of a suspension, of a bound "
        "that is raised, or of anything else that kept messages out, counts as that, too.",
    )
    failed_wakes: int = Field(
        0,
        ge=0,
        description="How many wakes in a row were in vain, so that the pod was given back. A session that falls asleep "
        "again, a changed spec, and an hour without one begin anew.",
    )
    retry_time: datetime | None = Field(
        None, description="No message wakes the session before, since several wakes in a row were in vain."
    )
    wakes: int = Field(
        0, ge=0, description="How often the session was given a pod or a host; it also numbers its pods."
    )
    rollout: SessionRollout | None = Field(
        None, description="Images of the session's own pods. `resolved.image` is that of the next one."
    )
    archive: Archive | None = Field(None, description="The workspace's archive, as of the last sleep.")
    result: Result | None = Field(None, description="What the agent answered.")
    start_time: datetime | None = Field(
        None,
        description="When a node first took a pod of the session; of one whose bound was raised after its end, the "
        "first since then.",
    )
    completion_time: datetime | None = Field(None, description="When the session finished, well or not.")
    restarts: int = Field(
        0,
        ge=0,
        description="How many attempts followed the first one. Of Hybrid and LongRunning sessions: how often a pod was "
        "lost, a host left, or a container ended, and the session went on.",
    )
    failures: int = Field(
        0,
        ge=0,
        description="How many attempts failed, as `backoffLimit` counts. Of Hybrid sessions: in a row; ten minutes "
        "without any end, and every wake by a message, begin anew. While it runs, they are never more than "
        "`backoffLimit`: another start has followed.",
    )
    disruptions: int = Field(
        0,
        ge=0,
        description="Ephemeral and Hybrid sessions: how many pods in a row were lost without a failure (evicted, "
        "drained, deleted, gone with their node); ten minutes without any end begin anew. They only lengthen the pause "
        "before the next one.",
    )
    oom_kills: int = Field(0, ge=0, description="Processes in the pod that were killed for want of memory.")
    last_termination: Termination | None = Field(None, description="How the last unsuccessful attempt ended.")

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of that type, if it is set."""
        return next((c for c in self.conditions if c.type == kind), None)

    def is_true(self, kind: str) -> bool:
        """Return whether the condition of that type is set and True."""
        found = self.condition(kind)
        return found is not None and found.status == "True"
