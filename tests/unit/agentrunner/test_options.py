"""How the SDK is set up."""

from pathlib import Path

from claude_agent_sdk import ClaudeAgentOptions

from agentrunner.options import Launch, sdk_options
from agentsessions.api.template import AgentOptions

ID = "0b6b3a52-6d0f-4a3e-8f6c-2f8f2a3c1d10"


def _ignore(_: str) -> None:
    return


def test_an_empty_agent_gets_safe_defaults() -> None:
    launch = Launch(ID, resume=False, cwd=Path("/workspace"), system_prompt=None)
    assert sdk_options(AgentOptions(), launch, _ignore) == ClaudeAgentOptions(
        session_id=ID,
        cwd=Path("/workspace"),
        permission_mode="bypassPermissions",
        max_turns=20,
        setting_sources=[],
        strict_mcp_config=True,
        verbatim_prompts=True,
        max_buffer_size=67_108_864,
        stderr=_ignore,
    )


def test_every_option_of_the_agent_is_passed_on() -> None:
    agent = AgentOptions(
        model="claude-sonnet-5-5",
        fallback_model="claude-haiku-5-5",
        system_prompt="Be brief.",
        tools=["Bash", "Read"],
        disallowed_tools=["Bash(rm *)"],
        permission_mode="dontAsk",
        max_turns=3,
        effort="high",
        output_schema={"type": "object"},
    )
    launch = Launch(ID, resume=True, cwd=Path("/workspace"), system_prompt=Path("/tmp/system"))
    assert sdk_options(agent, launch, _ignore) == ClaudeAgentOptions(
        resume=ID,
        cwd=Path("/workspace"),
        system_prompt={"type": "file", "path": "/tmp/system"},
        model="claude-sonnet-5-5",
        fallback_model="claude-haiku-5-5",
        tools=["Bash", "Read"],
        allowed_tools=["Bash", "Read"],
        disallowed_tools=["Bash(rm *)"],
        permission_mode="dontAsk",
        max_turns=3,
        effort="high",
        output_format={"type": "json_schema", "schema": {"type": "object"}},
        setting_sources=[],
        strict_mcp_config=True,
        verbatim_prompts=True,
        max_buffer_size=67_108_864,
        stderr=_ignore,
    )


def test_no_tools_is_not_the_same_as_the_sdks_own_tools() -> None:
    launch = Launch(ID, resume=False, cwd=Path("/workspace"), system_prompt=None)
    assert sdk_options(AgentOptions(tools=[]), launch, _ignore).tools == []
    assert sdk_options(AgentOptions(), launch, _ignore).tools is None
