"""How the end of a session's `claude` process is taken. No real one is killed for memory where tests run."""

from collections.abc import AsyncIterator

import pytest
from claude_agent_sdk import ClaudeAgentOptions, Message

from agentrunner import oom
from agentrunner.serving.process import Process
from agentrunner.subagents import Subagents
from agentsessions.api.agent import AgentOptions


async def dies() -> AsyncIterator[Message]:
    """Say nothing, and die."""
    raise Exception("Cannot write to terminated process")  # as bare as the SDK's own
    yield


@pytest.mark.parametrize(("looks", "starved"), [(0, True), (1, True), (2, False)])
async def test_a_process_that_dies_long_after_something_was_killed_was_not_killed_with_it(
    monkeypatch: pytest.MonkeyPatch, looks: int, starved: bool
) -> None:
    kills = [0]
    monkeypatch.setattr(oom, "count", lambda *_: kills[0])
    ended: list[Process] = []
    process = Process(ClaudeAgentOptions(), Subagents(AgentOptions()), lambda _: None, ended.append)
    monkeypatch.setattr(process._client, "receive_messages", dies)
    kills[0] = 1
    for _ in range(looks):
        process.kills.look()
    await process._follow()
    assert (process.starved, process.ended, ended) == (starved, True, [process])
