"""How a task that fails is reported, and whether another attempt is asked for."""

import socket
from pathlib import Path

import pytest

from agent.container import Container
from agent.model import Model, script


def _error(status: int, kind: str, **more: int) -> dict[str, object]:
    return {"error": {"status": status, "type": kind, "message": "scripted", **more}}


@pytest.mark.parametrize(
    ("status", "kind", "reason", "retryable", "exit_code"),
    [
        (401, "authentication_error", "ModelAuthenticationFailed", False, 64),
        (403, "permission_error", "ModelAuthenticationFailed", False, 64),
        (400, "invalid_request_error", "ModelRequestRejected", False, 64),
        (404, "not_found_error", "ModelRequestRejected", False, 64),
        (429, "rate_limit_error", "ModelUnavailable", True, 1),
        (500, "api_error", "ModelUnavailable", True, 1),
        (529, "overloaded_error", "ModelUnavailable", True, 1),
    ],
)
async def test_an_error_of_the_model_is_classified(
    container: Container, status: int, kind: str, reason: str, retryable: bool, exit_code: int
) -> None:
    ended = await container.run(script(_error(status, kind), {"text": "never"}))
    report = ended.report
    assert (report.outcome, report.reason, report.retryable, ended.exit_code, report.result) == (
        "Failed",
        reason,
        retryable,
        exit_code,
        None,
    )
    assert str(status) in report.message


async def test_passing_overload_is_retried_within_the_turn(container: Container, model: Model) -> None:
    container.environment["CLAUDE_CODE_MAX_RETRIES"] = "4"
    ended = await container.run(script(_error(529, "overloaded_error", times=2), {"text": "at last"}))
    assert (ended.exit_code, model.requests(container.session_id)) == (0, 3)
    assert [event["errorStatus"] for event in ended.events if event["event"] == "apiRetry"] == [529, 529]


async def test_an_endpoint_that_is_not_there_is_unavailable(container: Container) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        container.environment["ANTHROPIC_BASE_URL"] = f"http://127.0.0.1:{unused.getsockname()[1]}"
        ended = await container.run("Hello.")
    assert (ended.exit_code, ended.report.reason, ended.report.retryable) == (1, "ModelUnavailable", True)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [(b"", "must not be empty"), (b" \n", "must not be empty"), (b"ab\xff", "byte 2")],
    ids=["empty", "blank", "not-utf-8"],
)
async def test_an_unusable_prompt_is_refused_for_good(container: Container, prompt: bytes, says: str) -> None:
    ended = await container.run(prompt)
    assert (ended.exit_code, ended.report.reason, ended.report.retryable) == (64, "InvalidConfiguration", False)
    assert says in ended.report.message


async def test_missing_files_are_named(container: Container) -> None:
    ended = await container.start_and_wait()
    assert (ended.exit_code, ended.report.reason) == (64, "InvalidConfiguration")
    assert str(container.session / "session.json") in ended.report.message
    assert ended.report.session_id == container.session_id


async def test_a_wrong_option_is_named_without_its_value(container: Container) -> None:
    ended = await container.run("Hello.", {"systemPrompt": {"confidential": "yes"}})
    assert ended.report.reason == "InvalidConfiguration"
    assert "agent.systemPrompt" in ended.report.message
    assert "confidential" not in ended.log


async def test_a_state_directory_that_cannot_be_written_is_refused(container: Container) -> None:
    container.state.rmdir()
    container.state.write_text("a file, not a directory")
    ended = await container.run("Hello.")
    assert (ended.exit_code, ended.report.reason) == (64, "InvalidConfiguration")
    assert str(container.state) in ended.report.message


async def test_a_config_directory_that_cannot_be_written_is_refused(container: Container, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file")
    container.environment["CLAUDE_CONFIG_DIR"] = str(blocked / "claude")
    ended = await container.run("Hello.")
    assert "CLAUDE_CONFIG_DIR" in ended.report.message


async def test_the_volume_of_another_session_is_refused(container: Container, model: Model) -> None:
    first = await container.run(script({"text": "mine"}))
    owner, container.session_id = container.session_id, "00000000-0000-4000-8000-000000000000"
    ended = await container.run(script({"text": "not mine"}))
    assert (first.exit_code, ended.exit_code, ended.report.reason) == (0, 64, "InvalidConfiguration")
    assert owner in ended.report.message
    assert model.requests(container.session_id) == 0


async def test_a_volume_that_breaks_meanwhile_does_not_cost_the_report(container: Container) -> None:
    folder = container.state / "agentsessions"
    breaks = {"tool": "Bash", "input": {"command": f"rm -r '{folder}' && touch '{folder}'"}}
    ended = await container.run(script(breaks, {"text": "still here"}))
    assert (ended.exit_code, ended.report.result and ended.report.result.text) == (0, "still here")
    assert "stateNotKept" in [event["event"] for event in ended.events]


async def test_a_missing_termination_log_does_not_fail_the_task(container: Container) -> None:
    container.environment["AGENTSESSIONS_TERMINATION_LOG"] = str(container.tmp / "no" / "such" / "file")
    ended = await container.run(script({"text": "ok"}))
    assert ended.exit_code == 0
    assert "terminationLogFailed" in [event["event"] for event in ended.events]
