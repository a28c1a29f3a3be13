"""What the end of a turn means."""

from typing import Any

import pytest
from claude_agent_sdk import CLIConnectionError, CLIJSONDecodeError, ProcessError, ResultMessage

from agentrunner.outcome import INTERRUPTED, Verdict, failed, judge_api_error, judge_exception, judge_result
from agentsessions.api.termination import Outcome

DONE = Verdict(Outcome.SUCCEEDED, "Completed")


def _result(**changes: Any) -> ResultMessage:
    fields: dict[str, Any] = {
        "subtype": "success",
        "duration_ms": 1,
        "duration_api_ms": 1,
        "is_error": False,
        "num_turns": 3,
        "session_id": "s",
        "terminal_reason": "completed",
        "result": "text",
    }
    return ResultMessage(**(fields | changes))


def _api_error(status: int | None) -> ResultMessage:
    return _result(is_error=True, api_error_status=status, terminal_reason="api_error")


@pytest.mark.parametrize(
    ("result", "stopping", "verdict"),
    [
        pytest.param(_result(), False, DONE, id="done"),
        pytest.param(_result(), True, DONE, id="done-just-before-the-stop"),
        pytest.param(_result(terminal_reason=None), False, DONE, id="done-without-a-reason"),
        pytest.param(
            _result(subtype="error_during_execution", is_error=True, terminal_reason="aborted_tools"),
            True,
            INTERRUPTED,
            id="interrupted",
        ),
        pytest.param(
            _result(subtype="error_during_execution", is_error=True, terminal_reason=None),
            True,
            INTERRUPTED,
            id="failed-while-stopping",
        ),
        pytest.param(
            _result(subtype="error_during_execution", is_error=True, terminal_reason=None),
            False,
            failed("AgentCrashed", "the turn ended with 'error_during_execution'", retryable=True),
            id="failed-by-itself",
        ),
        pytest.param(
            _result(subtype="error_max_turns", is_error=True, terminal_reason="max_turns"),
            False,
            failed(
                "MaxTurnsExceeded",
                "the agent reached its limit of turns after 3 (`agent.maxTurns`)",
                retryable=False,
            ),
            id="out-of-turns",
        ),
        pytest.param(
            _result(is_error=True, api_error_status=400, terminal_reason="prompt_too_long"),
            False,
            failed("ModelRequestRejected", "the conversation is too long for the model", retryable=False),
            id="too-long",
        ),
        pytest.param(_api_error(529), False, judge_api_error(529), id="overloaded"),
        pytest.param(_api_error(None), False, judge_api_error(None), id="refused"),
    ],
)
def test_a_result_is_judged(result: ResultMessage, stopping: bool, verdict: Verdict) -> None:
    assert judge_result(result, stopping=stopping, wants_structure=False) == verdict


@pytest.mark.parametrize(
    ("status", "reason", "retryable"),
    [
        (None, "ModelUnavailable", True),
        (400, "ModelRequestRejected", False),
        (401, "ModelAuthenticationFailed", False),
        (403, "ModelAuthenticationFailed", False),
        (404, "ModelRequestRejected", False),
        (408, "ModelUnavailable", True),
        (413, "ModelRequestRejected", False),
        (429, "ModelUnavailable", True),
        (500, "ModelUnavailable", True),
        (503, "ModelUnavailable", True),
        (529, "ModelUnavailable", True),
    ],
)
def test_a_failed_model_call_is_judged_by_its_status(status: int | None, reason: str, retryable: bool) -> None:
    verdict = judge_api_error(status)
    assert (verdict.outcome, verdict.reason, verdict.retryable) == (Outcome.FAILED, reason, retryable)


def test_the_sdks_word_for_a_failed_call_is_shown() -> None:
    shown = [judge_api_error(404, kind).message for kind in ("model_not_found", "unknown", None)]
    plain = "the model endpoint rejected the request (HTTP 404)"
    assert shown == ["the model endpoint rejected the request (HTTP 404, model_not_found)", plain, plain]


def test_a_structured_answer_is_required_when_it_was_asked_for() -> None:
    missing = judge_result(_result(), stopping=False, wants_structure=True)
    given = judge_result(_result(structured_output={"a": 1}), stopping=False, wants_structure=True)
    assert (missing.reason, missing.exit_code, given) == ("OutputSchemaNotMet", 64, DONE)


@pytest.mark.parametrize(
    ("error", "oom_kills", "reason", "message"),
    [
        pytest.param(
            ProcessError("x", exit_code=1), 0, "AgentCrashed", "the agent's CLI ended with exit code 1", id="exit"
        ),
        pytest.param(
            ProcessError("x", exit_code=-9), 0, "AgentCrashed", "the agent's CLI ended with exit code -9", id="killed"
        ),
        pytest.param(
            ProcessError("x", exit_code=-9),
            1,
            "OOMKilled",
            "the agent's CLI was killed for want of memory",
            id="killed-for-memory",
        ),
        pytest.param(
            ProcessError("x", exit_code=1),
            1,
            "AgentCrashed",
            "the agent's CLI ended with exit code 1",
            id="exit-after-a-tool-was-killed",
        ),
        pytest.param(
            CLIConnectionError("secret text"), 0, "AgentCrashed", "the SDK failed with CLIConnectionError", id="sdk"
        ),
        pytest.param(
            CLIJSONDecodeError("secret text", ValueError()),
            0,
            "AgentCrashed",
            "the SDK failed with CLIJSONDecodeError",
            id="line-too-long",
        ),
        pytest.param(KeyError("secret text"), 0, "AgentCrashed", "the runner failed with KeyError", id="bug"),
        pytest.param(
            KeyError("x"), 1, "AgentCrashed", "the runner failed with KeyError", id="bug-after-a-tool-was-killed"
        ),
        pytest.param(
            Exception("Control request timeout"),
            1,
            "OOMKilled",
            "the agent's CLI was killed for want of memory",
            id="gone-while-it-was-asked",
        ),
    ],
)
def test_an_exception_is_judged(error: Exception, oom_kills: int, reason: str, message: str) -> None:
    assert judge_exception(error, stopping=False, oom_kills=oom_kills) == failed(reason, message, retryable=True)


def test_an_exception_while_stopping_is_an_interruption() -> None:
    assert judge_exception(ProcessError("x", exit_code=143), stopping=True, oom_kills=1) == INTERRUPTED


@pytest.mark.parametrize(("verdict", "code"), [(DONE, 0), (INTERRUPTED, 1), (judge_api_error(401), 64)])
def test_the_exit_code_says_whether_another_attempt_may_help(verdict: Verdict, code: int) -> None:
    assert verdict.exit_code == code
