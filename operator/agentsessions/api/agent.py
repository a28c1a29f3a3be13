"""What an agent is: model, instructions, tools, subagents, and the bounds of all that."""

from typing import Annotated, Literal

from pydantic import Field

from agentsessions.api.base import SET, ApiModel, Json, cel, keyed_by, rule

ToolName = Annotated[str, Field(min_length=1, max_length=256)]

SubagentName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
        json_schema_extra=cel(rule("self != 'fork'", "must not be 'fork', by which the CLI means the agent itself")),
    ),
]


class Subagent(ApiModel):
    """A helper that the agent may start: a conversation of its own, with its own instructions and bounds."""

    name: SubagentName = Field(description="Name by which the agent calls it.")
    description: str = Field(
        min_length=1, max_length=1024, description="When it is to be used; the agent chooses by this."
    )
    prompt: str = Field(min_length=1, max_length=32768, description="Its instructions.")
    max_turns: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Greatest number of its model turns for one call. It then hands back what it has, and the agent is "
        "told that it was stopped. Unset: as many as `agent.maxTurns`.",
    )
    model: str | None = Field(
        None, min_length=1, max_length=256, description="Model that it runs on, by id or alias. Unset: the agent's own."
    )
    tools: list[ToolName] | None = Field(
        None,
        max_length=128,
        description="Names of the tools it has, out of the agent's. Unset: all of them.",
        json_schema_extra=SET,
    )


class AgentOptions(ApiModel):
    """What the agent is: model, instructions, tools and their bounds."""

    model: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        description="Model that the agent runs on, by id or alias (for example claude-sonnet-5-5 or sonnet).",
    )
    fallback_model: str | None = Field(
        None, min_length=1, max_length=256, description="Model to go on with while `model` is overloaded."
    )
    system_prompt: str | None = Field(
        None, max_length=65536, description="Instructions that stand before the conversation."
    )
    tools: list[ToolName] | None = Field(
        None,
        max_length=128,
        description="Names of the built-in tools the agent has. Empty list: none. Unset: the SDK's own set.",
        json_schema_extra=SET,
    )
    disallowed_tools: list[ToolName] | None = Field(
        None,
        max_length=128,
        description="Tools, or tool patterns such as Bash(rm *), that are always refused.",
        json_schema_extra=SET,
    )
    permission_mode: Literal["default", "acceptEdits", "plan", "bypassPermissions", "dontAsk"] | None = Field(
        None,
        description="What happens when a tool would ask for permission. Nobody is there to be asked: "
        "bypassPermissions (the default, inside the pod's limits) allows, dontAsk refuses.",
    )
    max_turns: int | None = Field(
        None, ge=1, le=100_000, description="Greatest number of model turns for one prompt, as the SDK counts them."
    )
    effort: Literal["low", "medium", "high", "max"] | None = Field(
        None, description="How much the model thinks before it answers."
    )
    subagents: list[Subagent] | None = Field(
        None,
        max_length=16,
        description="Helpers that the agent may start, each bounded in turns; naming some gives it the tool Agent. "
        "Empty list: none. Unset: the CLI's own, whose turns have no bound.",
        json_schema_extra=keyed_by("name"),
    )
    max_parallel_subagents: int | None = Field(
        None,
        ge=1,
        le=100,
        description="Greatest number of subagents that work at once, so that a wide fan-out does not run into rate "
        "limits. Further ones wait until one has ended. Unset: the CLI's own bound (20), beyond which it refuses.",
    )
    subagent_stall_timeout_seconds: int | None = Field(
        None,
        ge=1,
        le=86_400,
        description="Seconds without any progress after which a subagent in the background counts as stalled: it is "
        "ended, and the agent is told. Unset: the CLI's own choice, about ten minutes.",
    )
    max_api_retries: int | None = Field(
        None,
        ge=0,
        le=15,
        description="How often a model call that failed is tried again, with growing pauses, before the turn fails. "
        "Built-in default: 4.",
    )
    output_schema: Json | None = Field(
        None,
        description="JSON Schema that the final answer must follow; the answer is in `status.result.structured`.",
        json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    )
