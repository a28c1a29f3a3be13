"""What a task that runs undisturbed leaves behind."""

import json

import pytest

from agent.container import Container
from agent.model import Model, script
from agentsessions.api.status import Result, Usage
from agentsessions.api.termination import Outcome, TerminationReport


@pytest.mark.requirement("H01", "H10", "H39")
async def test_a_text_answer_is_reported_with_its_usage(container: Container) -> None:
    ended = await container.run(script({"text": "Forty-two.", "usage": {"input": 1000, "output": 100}}))
    assert (ended.exit_code, ended.report) == (
        0,
        TerminationReport(
            session_id=container.session_id,
            outcome=Outcome.SUCCEEDED,
            reason="Completed",
            result=Result(text="Forty-two.", stop_reason="end_turn"),
            usage=Usage(turns=1, input_tokens=1000, output_tokens=100, cost_usd="0.006"),
        ),
    )


@pytest.mark.requirement("H01", "H10")
async def test_a_tool_call_really_runs_in_the_workspace(container: Container) -> None:
    prompt = script({"tool": "Bash", "input": {"command": "echo real > made.txt"}}, {"text": "done"})
    ended = await container.run(prompt)
    assert ended.exit_code == 0
    assert container.workspace.joinpath("made.txt").read_text() == "real\n"
    assert [event["tool"] for event in ended.events if event["event"] == "toolUse"] == ["Bash"]


async def test_parallel_tool_calls_and_thinking_are_understood(container: Container) -> None:
    calls = [{"tool": "Bash", "input": {"command": f"echo {n} > {n}.txt"}} for n in (1, 2)]
    ended = await container.run(script({"thinking": "two at once", "text": "both", "tools": calls}, {"text": "done"}))
    assert ended.exit_code == 0
    assert sorted(path.name for path in container.workspace.glob("*.txt")) == ["1.txt", "2.txt"]


async def test_a_tool_input_of_more_than_a_mebibyte_does_not_end_the_session(container: Container) -> None:
    content = {"$repeat": "x", "times": 1_500_000}
    path = str(container.workspace / "big.txt")
    ended = await container.run(
        script({"tool": "Write", "input": {"file_path": path, "content": content}}, {"text": "done"})
    )
    assert ended.exit_code == 0, ended.log[-2000:]
    assert container.workspace.joinpath("big.txt").stat().st_size == 1_500_000


async def test_a_long_answer_is_cut_in_the_report_and_whole_on_the_volume(container: Container) -> None:
    ended = await container.run(script({"text": {"$repeat": "länger ", "times": 5000}}))
    assert ended.report.result is not None
    assert ended.report.result.truncated
    kept = json.loads(container.state.joinpath("agentsessions/result.json").read_text())
    assert kept["report"]["result"] == {"text": "länger " * 5000, "truncated": False, "stopReason": "end_turn"}


async def test_a_structured_answer_is_reported_as_an_object(container: Container) -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
    prompt = script({"tool": "StructuredOutput", "input": {"answer": 42}}, {"text": "done"})
    ended = await container.run(prompt, {"outputSchema": schema})
    assert ended.report.result is not None
    assert ended.report.result.structured == {"answer": 42}


async def test_an_answer_that_ignores_the_schema_fails_for_good(container: Container) -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
    ended = await container.run(script({"text": "no"}, {"text": "still no"}), {"outputSchema": schema})
    assert (ended.exit_code, ended.report.reason, ended.report.retryable) == (64, "OutputSchemaNotMet", False)


@pytest.mark.requirement("H50")
async def test_turns_are_bounded(container: Container) -> None:
    steps = [{"tool": "Bash", "input": {"command": "true"}}] * 5
    ended = await container.run(script(*steps, {"text": "never"}), {"maxTurns": 2})
    assert (ended.exit_code, ended.report.reason, ended.report.retryable) == (64, "MaxTurnsExceeded", False)
    assert ended.report.usage.turns >= 2


async def test_the_prompt_reaches_the_model_as_it_is(container: Container, model: Model) -> None:
    secret = container.tmp / "secret.txt"
    secret.write_text("not for the model")
    prompt = f"/compact @{secret} and @{container.workspace} then /help\n" + script({"text": "read"}, around="")
    ended = await container.run(prompt)
    assert ended.exit_code == 0
    sent = json.dumps(model.bodies)
    assert json.dumps(prompt)[1:-1] in json.dumps(model.bodies[0]["messages"])
    assert "not for the model" not in sent


async def test_the_agent_sees_neither_the_cluster_nor_the_runner_nor_the_prompt_in_its_environment(
    container: Container,
) -> None:
    prompt = script({"tool": "Bash", "input": {"command": "env > env.txt"}}, {"text": "done"})
    container.write(prompt)
    ended = await container.start_and_wait(
        {"TASK_PROMPT": prompt, "KUBERNETES_SERVICE_HOST": "10.0.0.1", "FROM_TEMPLATE": "yes"}
    )
    assert ended.exit_code == 0
    names = {line.partition("=")[0] for line in container.workspace.joinpath("env.txt").read_text().splitlines()}
    assert "FROM_TEMPLATE" in names
    unwanted = {name for name in names if name.startswith(("KUBERNETES_", "AGENTSESSIONS_")) or name == "TASK_PROMPT"}
    assert unwanted == set()


async def test_neither_prompt_nor_system_prompt_is_an_argument_of_a_process(container: Container) -> None:
    command = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' > processes.txt"
    prompt = script({"tool": "Bash", "input": {"command": command}}, {"text": "done"}, around="Zanzibar prompt.")
    ended = await container.run(prompt, {"systemPrompt": "You are Zanzibar, the system prompt."})
    assert ended.exit_code == 0
    processes = container.workspace.joinpath("processes.txt").read_text()
    assert "claude" in processes
    assert "Zanzibar" not in processes


@pytest.mark.parametrize(("logging", "appears"), [("Omit", False), ("Include", True)])
async def test_the_log_holds_content_only_when_asked(container: Container, logging: str, appears: bool) -> None:
    steps = ({"tool": "Bash", "input": {"command": "echo marmalade"}}, {"text": "marmalade is done"})
    ended = await container.run(script(*steps), contentLogging=logging)
    assert ended.exit_code == 0
    assert ("marmalade" in ended.log) is appears


async def test_tools_are_those_that_the_session_names(container: Container, model: Model) -> None:
    await container.run(script({"text": "ok"}), {"tools": ["Read", "Bash"], "permissionMode": "dontAsk"})
    # The placeholder is the CLI's own mark in the list, nothing that can be called.
    offered = {tool["name"] for tool in model.bodies[0]["tools"]} - {"DeferredToolPlaceholder"}
    assert offered == {"Bash", "Read"}


async def test_under_dont_ask_a_named_tool_may_be_used(container: Container) -> None:
    prompt = script({"tool": "Bash", "input": {"command": "touch allowed"}}, {"text": "done"})
    ended = await container.run(prompt, {"tools": ["Bash"], "permissionMode": "dontAsk"})
    assert ended.exit_code == 0
    assert container.workspace.joinpath("allowed").exists()
