"""The termination report: its content, and how it is made to fit. Pure; writing it is `terminationlog`."""

import json
from collections.abc import Callable

from claude_agent_sdk import ResultMessage

from agentrunner.outcome import Verdict, structured_of
from agentsessions.api.status import Result, Usage
from agentsessions.api.termination import MAX_BYTES, Outcome, ReportReason, TerminationReport

_MAX_MESSAGE = 1024
NO_USAGE = Usage()


def running(session_id: str, usage: Usage, oom_kills: int) -> TerminationReport:
    """Return the report of an attempt that is still at work; it stands if the attempt is killed."""
    return TerminationReport(
        session_id=session_id,
        outcome=Outcome.RUNNING,
        reason=ReportReason.RUNNING,
        message="the attempt had not finished",
        retryable=True,
        usage=usage,
        oom_kills=oom_kills,
    )


def final(session_id: str, verdict: Verdict, result: Result | None, usage: Usage, oom_kills: int) -> TerminationReport:
    """Return the report of an attempt that ended."""
    return TerminationReport(
        session_id=session_id,
        outcome=verdict.outcome,
        reason=str(verdict.reason),
        message=verdict.message[:_MAX_MESSAGE],
        retryable=verdict.retryable,
        result=result,
        usage=usage,
        oom_kills=oom_kills,
    )


def result_of(message: ResultMessage) -> Result:
    """Return the agent's answer, whole."""
    return Result(
        text=message.result or "",
        structured=structured_of(message),
        stop_reason=message.stop_reason,
    )


def encode(report: TerminationReport) -> bytes:
    """Return the report as JSON, as compact as JSON gets."""
    text = json.dumps(report.to_json(), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def fit(report: TerminationReport, limit: int = MAX_BYTES) -> bytes:
    """Return the report in at most `limit` bytes: the structured answer goes first, then the end of the text."""
    data = encode(report)
    if len(data) <= limit or report.result is None:
        return data if len(data) <= limit else _cut(limit, len(report.message), lambda n: _with_message(report, n))
    if report.result.structured is not None:
        return fit(
            _with_result(report, report.result.model_copy(update={"structured": None, "truncated": True})), limit
        )
    if report.result.text:
        cut = _cut(limit, len(report.result.text), lambda n: _with_text(report, n))
        if len(cut) <= limit:
            return cut
    return fit(report.model_copy(update={"result": None}), limit)


def _cut(limit: int, longest: int, at: Callable[[int], TerminationReport]) -> bytes:
    """Return the longest version of a report that fits; whole characters only, so UTF-8 stays whole too."""
    low, high = 0, longest
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(encode(at(middle))) <= limit else (low, middle - 1)
    return encode(at(low))


def _with_text(report: TerminationReport, length: int) -> TerminationReport:
    assert report.result is not None
    text = report.result.text[:length]
    return _with_result(report, report.result.model_copy(update={"text": text, "truncated": True}))


def _with_result(report: TerminationReport, result: Result) -> TerminationReport:
    return report.model_copy(update={"result": result})


def _with_message(report: TerminationReport, length: int) -> TerminationReport:
    return report.model_copy(update={"message": report.message[:length]})
