"""What the end of a turn means: outcome, reason, whether another attempt can help. Pure.

The CLI reports API errors as `subtype="success"` with `is_error`; the whole classification is here.
"""

from dataclasses import dataclass
from typing import Any

from claude_agent_sdk import ClaudeSDKError, ProcessError, ResultMessage

from agentsessions.api.termination import Outcome, ReportReason

_RETRYABLE_4XX = frozenset({408, 409, 425, 429})
_AUTHENTICATION = frozenset({401, 403})
_KILLED = frozenset({-9, 137})


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the attempt ended; `message` is for a person and holds no prompt."""

    outcome: Outcome
    reason: str
    message: str = ""
    retryable: bool = False

    @property
    def exit_code(self) -> int:
        """0 for success, 1 when another attempt may help, 64 when none can."""
        if self.outcome is Outcome.SUCCEEDED:
            return 0
        return 1 if self.retryable else 64

    @property
    def is_finished(self) -> bool:
        """Whether the turn ran to an end that must not be paid for again."""
        return self.reason in {
            ReportReason.COMPLETED,
            ReportReason.MAX_TURNS_EXCEEDED,
            ReportReason.OUTPUT_SCHEMA_NOT_MET,
        }


def failed(reason: str, message: str, *, retryable: bool) -> Verdict:
    """Return a failure."""
    return Verdict(Outcome.FAILED, reason, message, retryable)


INTERRUPTED = failed(ReportReason.INTERRUPTED, "the agent was told to stop before it finished", retryable=True)

STOPPED = failed(ReportReason.INTERRUPTED, "a client ended the agent's turn", retryable=False)
"""A person said so: another attempt would do what they did not want."""


def judge_result(
    result: ResultMessage, *, stopping: bool, wants_structure: bool, api_error: str | None = None
) -> Verdict:
    """Return the verdict on a finished turn.

    `stopping` says that we had asked it to stop; `api_error` is the SDK's word for the last failed model call.
    """
    if result.terminal_reason in {"aborted_streaming", "aborted_tools"}:
        return INTERRUPTED
    if result.subtype == "error_max_turns":
        message = f"the agent reached its limit of turns after {result.num_turns} (`agent.maxTurns`)"
        return failed(ReportReason.MAX_TURNS_EXCEEDED, message, retryable=False)
    if result.subtype == "error_max_structured_output_retries":
        return _unstructured()
    if result.terminal_reason == "prompt_too_long":
        return failed(
            ReportReason.MODEL_REQUEST_REJECTED, "the conversation is too long for the model", retryable=False
        )
    if result.is_error and result.subtype == "success":
        return judge_api_error(result.api_error_status, api_error)
    if result.subtype != "success" or result.is_error:
        return INTERRUPTED if stopping else _crashed(f"the turn ended with '{result.subtype}'")
    if wants_structure and result.structured_output is None:
        return _unstructured()
    return Verdict(Outcome.SUCCEEDED, ReportReason.COMPLETED)


def judge_api_error(status: int | None, kind: str | None = None) -> Verdict:
    """Return the verdict on a model call that failed for good with this HTTP status (None: no answer at all)."""
    what = f"HTTP {status}" if kind in {None, "unknown"} else f"HTTP {status}, {kind}"
    if status is None:
        return failed(ReportReason.MODEL_UNAVAILABLE, "the model endpoint did not answer", retryable=True)
    if status in _AUTHENTICATION:
        message = f"the model endpoint refused the credentials ({what})"
        return failed(ReportReason.MODEL_AUTHENTICATION_FAILED, message, retryable=False)
    if 400 <= status < 500 and status not in _RETRYABLE_4XX:
        message = f"the model endpoint rejected the request ({what})"
        return failed(ReportReason.MODEL_REQUEST_REJECTED, message, retryable=False)
    message = f"the model endpoint is unavailable or overloaded ({what})"
    return failed(ReportReason.MODEL_UNAVAILABLE, message, retryable=True)


def judge_exception(error: BaseException, *, stopping: bool, oom_kills: int) -> Verdict:
    """Return the verdict when the SDK raised: the CLI died, or something unforeseen happened."""
    if stopping:
        return INTERRUPTED
    code = error.exit_code if isinstance(error, ProcessError) else None
    if was_starved(error, oom_kills):
        return failed(ReportReason.OOM_KILLED, "the agent's CLI was killed for want of memory", retryable=True)
    if code is not None:
        return _crashed(f"the agent's CLI ended with exit code {code}")
    # Only the type: the text of an unforeseen error can quote what the CLI said.
    what = "the SDK" if _is_of_the_cli(error) else "the runner"
    return _crashed(f"{what} failed with {type(error).__name__}")


def was_starved(error: BaseException, oom_kills: int) -> bool:
    """Return whether the CLI itself was among `oom_kills`, the processes that were killed for want of memory."""
    code = error.exit_code if isinstance(error, ProcessError) else None
    return oom_kills > 0 and (code in _KILLED or (code is None and _is_of_the_cli(error)))


def _is_of_the_cli(error: BaseException) -> bool:
    """Return whether the SDK raised this about its CLI; it uses bare exceptions for some of that."""
    return isinstance(error, ClaudeSDKError) or type(error) is Exception


def _crashed(message: str) -> Verdict:
    return failed(ReportReason.AGENT_CRASHED, message, retryable=True)


def _unstructured() -> Verdict:
    return failed(
        ReportReason.OUTPUT_SCHEMA_NOT_MET, "the answer does not follow `agent.outputSchema`", retryable=False
    )


def structured_of(result: ResultMessage) -> dict[str, Any] | None:
    """Return the structured answer, if there is one and it is an object."""
    return result.structured_output if isinstance(result.structured_output, dict) else None
