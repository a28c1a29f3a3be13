"""The SDK's options for one session. Pure but for the callback that it is handed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from claude_agent_sdk import ClaudeAgentOptions
from claude_agent_sdk.types import SystemPromptFile

from agentrunner import subagents
from agentsessions.api.agent import AgentOptions

MAX_TURNS = 20
"""Turns for one prompt unless the session says otherwise: a session never ends by itself."""

MAX_BUFFER = 64 * 1024 * 1024
"""Bytes of one line from the CLI. The SDK's own 1 MiB ends the session at the first big tool input."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How the CLI is started: for which session, fresh, resumed or from a copy, where, and with which instructions."""

    session_id: str
    resume: bool
    cwd: Path
    system_prompt: Path | None
    fork_from: str | None = None


def sdk_options(agent: AgentOptions, launch: Launch, on_stderr: Callable[[str], None]) -> ClaudeAgentOptions:
    """Return the options: isolated from settings files, prompts taken as they are, bounded in turns."""
    return ClaudeAgentOptions(
        session_id=None if launch.resume else launch.session_id,
        resume=launch.session_id if launch.resume else launch.fork_from,
        fork_session=launch.fork_from is not None and not launch.resume,
        cwd=launch.cwd,
        # A file, not an argument: arguments are readable in the process list and limited in length.
        system_prompt=_prompt_file(launch.system_prompt),
        model=agent.model,
        fallback_model=agent.fallback_model,
        tools=subagents.with_tool(agent),
        allowed_tools=_approved(agent),
        disallowed_tools=subagents.refused_tools(agent),
        agents=subagents.defined(agent, agent.max_turns or MAX_TURNS),
        env=subagents.variables(agent),
        permission_mode=agent.permission_mode or "bypassPermissions",
        max_turns=agent.max_turns or MAX_TURNS,
        effort=agent.effort,
        output_format=None if agent.output_schema is None else {"type": "json_schema", "schema": agent.output_schema},
        setting_sources=[],
        strict_mcp_config=True,
        verbatim_prompts=True,
        max_buffer_size=MAX_BUFFER,
        stderr=on_stderr,
    )


def _approved(agent: AgentOptions) -> list[str]:
    """Return the tools that need no permission: under `dontAsk`, exactly those that the session names."""
    return list(subagents.with_tool(agent) or []) if agent.permission_mode == "dontAsk" else []


def _prompt_file(path: Path | None) -> SystemPromptFile | None:
    return None if path is None else {"type": "file", "path": str(path)}
