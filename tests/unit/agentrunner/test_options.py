"""How the SDK is set up."""

from pathlib import Path

from claude_agent_sdk import AgentDefinition, ClaudeAgentOptions

from agentrunner.options import Launch, sdk_options
from agentsessions.api.agent import AgentOptions, Subagent

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
        subagents=[
            Subagent(name="reviewer", description="Reviews.", prompt="Be strict.", max_turns=2, tools=["Read"]),
            Subagent(name="tester", description="Tests.", prompt="Be thorough.", model="haiku"),
        ],
        max_parallel_subagents=4,
        subagent_stall_timeout_seconds=90,
        max_api_retries=2,
    )
    launch = Launch(ID, resume=True, cwd=Path("/workspace"), system_prompt=Path("/tmp/system"))
    assert sdk_options(agent, launch, _ignore) == ClaudeAgentOptions(
        resume=ID,
        cwd=Path("/workspace"),
        system_prompt={"type": "file", "path": "/tmp/system"},
        model="claude-sonnet-5-5",
        fallback_model="claude-haiku-5-5",
        tools=["Bash", "Read", "Agent"],
        allowed_tools=["Bash", "Read", "Agent"],
        disallowed_tools=["Bash(rm *)"],
        permission_mode="dontAsk",
        max_turns=3,
        effort="high",
        output_format={"type": "json_schema", "schema": {"type": "object"}},
        agents={
            "reviewer": AgentDefinition(description="Reviews.", prompt="Be strict.", tools=["Read"], maxTurns=2),
            "tester": AgentDefinition(description="Tests.", prompt="Be thorough.", model="haiku", maxTurns=3),
        },
        env={
            "CLAUDE_AGENT_SDK_DISABLE_BUILTIN_AGENTS": "1",
            "CLAUDE_CODE_MAX_CONCURRENT_SUBAGENTS": "4",
            "CLAUDE_ASYNC_AGENT_STALL_TIMEOUT_MS": "90000",
            "CLAUDE_CODE_MAX_RETRIES": "2",
        },
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


def test_no_subagents_is_not_the_same_as_the_clis_own() -> None:
    launch = Launch(ID, resume=False, cwd=Path("/workspace"), system_prompt=None)
    none = sdk_options(AgentOptions(subagents=[], disallowed_tools=["WebFetch"]), launch, _ignore)
    assert (none.agents, none.disallowed_tools) == (None, ["WebFetch", "Agent"])
    assert none.env == {"CLAUDE_AGENT_SDK_DISABLE_BUILTIN_AGENTS": "1"}
    own = sdk_options(AgentOptions(), launch, _ignore)
    assert (own.agents, own.disallowed_tools, own.env) == (None, [], {})


def test_an_agent_with_all_tools_or_the_tool_already_is_not_given_it_twice() -> None:
    launch = Launch(ID, resume=False, cwd=Path("/workspace"), system_prompt=None)
    helper = Subagent(name="helper", description="Helps.", prompt="Help.")
    assert sdk_options(AgentOptions(subagents=[helper]), launch, _ignore).tools is None
    assert sdk_options(AgentOptions(subagents=[helper], tools=["Task"]), launch, _ignore).tools == ["Task"]
