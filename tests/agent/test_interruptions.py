"""Stops, kills and second attempts: nothing is lost that was reported, and nothing is paid for twice."""

import asyncio
import json
import os
import signal
from decimal import Decimal

import pytest

from agent.container import Container, Json
from agent.model import Model, script
from agentrunner.transcript import CONTINUATION
from agentsessions.api.status import Usage
from agentsessions.api.termination import TerminationReport
from standin.conversation import block_texts, is_prompt

COUNT = {"tool": "Bash", "input": {"command": "echo once >> runs.txt"}, "usage": {"input": 1000, "output": 100}}
HANG = {"tool": "Bash", "input": {"command": "tail -f /dev/null"}, "usage": {"input": 1000, "output": 100}}
SLOW = {"text": "slow " * 100, "slow": {"seconds": 0.5, "chunks": 200}}
DONE = {"text": "done", "usage": {"input": 2000, "output": 100}}


def _runs(container: Container) -> int:
    return len(container.workspace.joinpath("runs.txt").read_text().splitlines())


async def _report_with_usage(container: Container, tokens: int = 1000) -> TerminationReport:
    """Return the report once it shows that at least so many tokens were sent."""
    while True:
        data = container.termination.read_bytes()
        report = TerminationReport.model_validate_json(data) if data.strip() else None
        if report is not None and report.usage.input_tokens >= tokens:
            return report
        await asyncio.sleep(0.05)


async def _on_disk(container: Container, word: str) -> None:
    """Wait until the transcript has a word: whoever is killed before has not done what it stands for."""
    async with asyncio.timeout(30):
        while not any(word in one.read_text() for one in container.state.glob("claude/projects/*/*.jsonl")):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.requirement("H10", "K02")
async def test_sigterm_interrupts_the_turn_and_reports_what_it_used(container: Container) -> None:
    container.write(script(COUNT, SLOW))
    async with container.started() as running:
        await running.event("toolResult")
        await _report_with_usage(container)
        running.signal(signal.SIGTERM)
        ended = await running.ended()
    assert (ended.exit_code, ended.report.reason, ended.report.retryable) == (1, "Interrupted", True)
    assert ended.report.usage.input_tokens >= 1000
    assert Decimal(ended.report.usage.cost_usd) > 0


@pytest.mark.parametrize("grace", [{}, {"AGENTSESSIONS_GRACE_SECONDS": "600"}], ids=["no-grace", "long-grace"])
async def test_sigterm_before_the_agent_has_started_is_an_interruption(
    container: Container, model: Model, grace: dict[str, str]
) -> None:
    """What has not begun does not begin within the grace."""
    container.environment |= grace
    container.write(script(DONE))
    async with container.started() as running:
        await running.event("attemptStarted")
        running.signal(signal.SIGTERM)
        ended = await running.ended()
    assert (ended.exit_code, ended.report.reason) == (1, "Interrupted")
    assert model.requests(container.session_id) == 0


async def test_sigterm_while_the_sdk_still_loads_is_an_interruption(container: Container, model: Model) -> None:
    container.write(script(DONE))
    async with container.started() as running:
        await running.handles_sigterm()
        running.signal(signal.SIGTERM)
        ended = await running.ended()
    assert (ended.exit_code, ended.report.reason, ended.events[0]["event"]) == (1, "Interrupted", "stopping")
    assert model.requests(container.session_id) == 0


@pytest.mark.requirement("K02")
async def test_a_killed_cli_is_a_crash_that_may_be_retried(container: Container) -> None:
    container.write(script(COUNT, SLOW))
    async with container.started() as running:
        await running.event("toolResult")
        await _report_with_usage(container)
        os.kill(running.cli(), signal.SIGKILL)
        ended = await running.ended()
    assert (ended.exit_code, ended.report.reason, ended.report.retryable) == (1, "AgentCrashed", True)
    assert ended.report.message == "the agent's CLI ended with exit code -9"
    assert ended.report.usage.input_tokens == 1000


async def test_a_kill_of_the_whole_container_leaves_a_report_with_the_usage(container: Container) -> None:
    container.write(script(COUNT, SLOW))
    async with container.started() as running:
        await running.event("toolResult")
        await _report_with_usage(container)
    report = TerminationReport.model_validate_json(container.termination.read_bytes())
    assert (report.outcome, report.reason, report.retryable) == ("Running", "Running", True)
    assert (report.usage.turns, report.usage.input_tokens, report.usage.cost_usd) == (1, 1000, "0.006")


@pytest.mark.requirement("K02", "H39")
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
async def test_the_next_attempt_continues_and_pays_only_for_the_rest(
    container: Container, model: Model, end: signal.Signals
) -> None:
    prompt = script(COUNT, HANG, DONE)
    container.write(prompt)
    async with container.started() as running:
        await running.event("toolResult")
        await running.event("toolUse")
        await _on_disk(container, HANG["input"]["command"])
        cut = await _report_with_usage(container, 2000)
        running.signal(end)
        await running.ended()
    model.bodies.clear()
    ended = await container.run(prompt, attempt=1)
    assert (ended.exit_code, ended.report.usage) == (
        0,
        Usage(turns=1, input_tokens=2000, output_tokens=100, cost_usd="0.01"),
    )
    assert (_runs(container), _last_prompt(model.bodies[0])) == (1, CONTINUATION)
    kept = json.loads(container.state.joinpath("agentsessions/usage.json").read_text())
    assert kept["total"]["costUsd"] == str(Decimal(cut.usage.cost_usd) + Decimal("0.01"))


def _last_prompt(body: Json) -> str:
    """Return what a person said last, without the reminders that the CLI adds."""
    prompts = [message for message in body["messages"] if is_prompt(message)]
    texts = [text.strip() for text in block_texts(prompts[-1])]
    return " ".join(text for text in texts if text and not text.startswith("<system-reminder>"))


@pytest.mark.requirement("H10", "K02")
async def test_a_finished_turn_is_reported_again_and_not_run_again(container: Container, model: Model) -> None:
    first = await container.run(script(COUNT, DONE))
    paid = model.requests(container.session_id)
    second = await container.run(script(COUNT, DONE), attempt=1)
    assert (second.exit_code, second.report) == (0, first.report)
    assert model.requests(container.session_id) == paid
    assert _runs(container) == 1


async def test_a_turn_that_ran_out_of_turns_is_not_run_again(container: Container, model: Model) -> None:
    first = await container.run(script(COUNT, COUNT, DONE), {"maxTurns": 1})
    paid = model.requests(container.session_id)
    second = await container.run(script(COUNT, COUNT, DONE), {"maxTurns": 1}, attempt=1)
    assert (second.exit_code, second.report) == (64, first.report)
    assert model.requests(container.session_id) == paid


async def test_after_the_model_was_away_the_next_attempt_goes_on(container: Container) -> None:
    prompt = script(COUNT, {"error": {"status": 529, "times": 2}}, DONE)
    first = await container.run(prompt)
    second = await container.run(prompt, attempt=1)
    assert (first.exit_code, first.report.reason) == (1, "ModelUnavailable")
    assert (second.exit_code, _runs(container)) == (0, 1)


async def test_a_transcript_that_was_torn_in_the_middle_of_a_line_is_continued(container: Container) -> None:
    prompt = script(COUNT, {"error": {"status": 529, "times": 2}}, DONE)
    await container.run(prompt)
    transcript = next(container.state.glob("claude/projects/*/*.jsonl"))
    transcript.write_bytes(transcript.read_bytes()[:-40])
    second = await container.run(prompt, attempt=1)
    assert (second.exit_code, _runs(container)) == (0, 1)


@pytest.mark.parametrize(
    "left", [b"", b'{"type":"queue-operation"}\n', b'{"type":"us'], ids=["empty", "no-talk", "torn"]
)
async def test_a_transcript_without_a_conversation_starts_afresh(container: Container, left: bytes) -> None:
    await container.run(script({"error": {"status": 401}}))
    transcript = next(container.state.glob("claude/projects/*/*.jsonl"))
    transcript.write_bytes(left)
    ended = await container.run(script(COUNT, DONE), attempt=1)
    assert (ended.exit_code, _runs(container)) == (0, 1)
