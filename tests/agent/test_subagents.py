"""Subagents in the real CLI: bounded in turns, in number, and in how long they may be silent."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agent.container import Container
from agent.host import Event, Host
from agent.model import Model, script

pytestmark = pytest.mark.timeout(120)

WORKER = {"name": "worker", "description": "Does one part.", "prompt": "You do one part.", "maxTurns": 2}


def bash(command: str) -> dict[str, Any]:
    return {"tool": "Bash", "input": {"command": command}}


def call(*steps: dict[str, Any], kind: str = "worker") -> dict[str, Any]:
    given = {"description": "one part", "prompt": script(*steps, around="One part."), "subagent_type": kind}
    return {"tool": "Agent", "input": given}


def at_work(log: Path) -> int:
    """Return how many were at work at once, by the lines `+` and `-` that they wrote."""
    now = most = 0
    for line in log.read_text().splitlines():
        now += 1 if line == "+" else -1
        most = max(most, now)
    return most


@pytest.mark.requirement("H53")
async def test_a_subagent_ends_at_its_turns_and_the_agent_goes_on(container: Container, model: Model) -> None:
    steps = [bash("echo turn >> turns.txt")] * 5
    prompt = script(call(*steps, {"text": "never"}), {"text": "main goes on: {{toolResult}}"})
    ended = await container.run(prompt, {"model": "claude-haiku-5-5", "tools": ["Bash"], "subagents": [WORKER]})
    assert ended.exit_code == 0
    assert container.workspace.joinpath("turns.txt").read_text() == "turn\n" * 2
    assert ended.report.result is not None
    assert "2-turn limit" in ended.report.result.text
    assert ended.report.usage.input_tokens > 0
    assert {body["model"] for body in model.bodies} == {"claude-haiku-5-5"}


@pytest.mark.requirement("H53")
async def test_there_are_no_subagents_but_those_that_the_session_names(container: Container, model: Model) -> None:
    others = [call({"text": "unbounded"}, kind=kind) for kind in ("general-purpose", "fork")]
    prompt = script({"text": "go", "tools": others}, {"text": "done"})
    ended = await container.run(prompt, {"tools": [], "subagents": [WORKER], "permissionMode": "dontAsk"})
    assert ended.exit_code == 0
    results = json.dumps(model.bodies[-1]["messages"])
    assert "'general-purpose' not found" in results
    assert "has no forks" in results
    assert model.requests(container.session_id) == 2


async def test_an_empty_list_means_no_subagents(container: Container, model: Model) -> None:
    assert (await container.run(script({"text": "ok"}), {"subagents": []})).exit_code == 0
    assert "Agent" not in {tool["name"] for tool in model.bodies[0]["tools"]}


@pytest.mark.requirement("H38", "H52")
async def test_a_wide_fan_out_is_worked_off_in_batches_and_none_is_lost(container: Container, model: Model) -> None:
    part = call(bash("echo + >> log.txt; sleep 0.4; echo - >> log.txt"), {"text": "part done"})
    prompt = script({"text": "all at once", "tools": [part] * 5}, {"text": "done"})
    ended = await container.run(prompt, {"subagents": [WORKER], "maxParallelSubagents": 2})
    assert ended.exit_code == 0
    log = container.workspace / "log.txt"
    assert (at_work(log), len(log.read_text().splitlines())) == (2, 10)
    last = json.dumps(model.bodies[-1]["messages"])
    assert last.count("[Subagent hand-back]") == 5
    assert "limit reached" not in last


@pytest.mark.requirement("H53")
async def test_a_silent_subagent_in_the_background_is_ended_and_its_slot_is_free(host: Host) -> None:
    agent = {"subagents": [WORKER], "maxParallelSubagents": 1, "subagentStallTimeoutSeconds": 2}
    talk = await host.give(settings={"agent": agent})
    silent = call({"delay": 60, "text": "late"})
    seen = await talk.say(script(silent, call({"text": "the second came to work"}), {"text": "done"}))
    assert seen[-1].kind == "done"
    told = [event.data["data"] for event in seen if event.data.get("subtype") == "task_notification"]
    assert ("failed", True) in [(one["status"], "stalled" in one["summary"]) for one in told]
    assert len(starts(seen)) == 2


async def test_a_session_is_not_idle_while_a_subagent_works_in_the_background(host: Host) -> None:
    talk = await host.give(settings={"agent": {"subagents": [WORKER]}})
    seen = await talk.say(script(call({"delay": 3, "text": "at last"}), {"text": "started"}, {"text": "heard of it"}))
    assert seen[-1].kind == "done"
    await asyncio.sleep(1)  # its stream is closed, and the subagent goes on
    assert "idleSince" not in await talk.state()
    async with asyncio.timeout(30):
        while "idleSince" not in await talk.state():  # noqa: ASYNC110 - the host is another process
            await asyncio.sleep(0.1)
    async with asyncio.timeout(30):
        while (await talk.state())["usage"]["turns"] < 3:  # noqa: ASYNC110 - two, and one of the CLI's own
            await asyncio.sleep(0.1)


@pytest.mark.requirement("H52")
async def test_an_interrupted_fan_out_leaves_no_slot_taken(host: Host) -> None:
    agent = {"subagents": [WORKER], "maxParallelSubagents": 1}
    talk = await host.give(settings={"agent": agent})
    mark = host.folder / "workspace" / talk.session_id / "reached"
    stuck = call(bash("touch reached; sleep 60"))
    stuck["input"]["run_in_background"] = False
    turn = asyncio.create_task(talk.say(script({"text": "both", "tools": [stuck, stuck]}, {"text": "never"})))
    async with asyncio.timeout(30):
        while not mark.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.05)
    assert (await host.json("POST", f"/sessions/{talk.session_id}/interrupt", talk.token))[0] == 202
    assert len(starts(await turn)) == 1
    after = await talk.say(script(call({"text": "came to work"}), {"text": "done"}))
    assert after[-1].kind == "done"
    assert len(starts(after)) == 1


def starts(seen: list[Event]) -> list[Event]:
    """Return the beginnings of subagents among the events of a turn."""
    begun = [event for event in seen if event.data.get("subtype") == "task_started"]
    return [event for event in begun if event.data["data"].get("task_type") == "local_agent"]


@pytest.mark.requirement("H50")
async def test_a_failing_model_call_is_tried_again_as_often_as_the_session_says(
    container: Container, model: Model
) -> None:
    prompt = script({"error": {"status": 500, "type": "api_error"}})
    ended = await container.run(prompt, {"maxApiRetries": 0})
    assert (ended.report.reason, model.requests(container.session_id)) == ("ModelUnavailable", 1)
