"""The report, and how it is made to fit into a termination message."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrunner.outcome import INTERRUPTED, Verdict
from agentrunner.report import encode, final, fit, running
from agentsessions.api.status import Result, Usage
from agentsessions.api.termination import MAX_BYTES, Outcome, TerminationReport

DONE = Verdict(Outcome.SUCCEEDED, "Completed")
ID = "0b6b3a52-6d0f-4a3e-8f6c-2f8f2a3c1d10"


def _report(text: str, **changes: Any) -> TerminationReport:
    result = Result(text=text, stop_reason="end_turn", **changes)
    return final(ID, DONE, result, Usage(turns=1, cost_usd="0.5"), 0)


def _read(data: bytes) -> TerminationReport:
    return TerminationReport.model_validate(json.loads(data))


def test_a_running_attempt_may_be_tried_again() -> None:
    assert running(ID, Usage(turns=2), 1) == TerminationReport(
        session_id=ID,
        outcome=Outcome.RUNNING,
        reason="Running",
        message="the attempt had not finished",
        retryable=True,
        usage=Usage(turns=2),
        oom_kills=1,
    )


def test_a_failure_has_its_reason_and_no_result() -> None:
    assert final(ID, INTERRUPTED, None, Usage(), 0) == TerminationReport(
        session_id=ID,
        outcome=Outcome.FAILED,
        reason="Interrupted",
        message="the agent was told to stop before it finished",
        retryable=True,
    )


def test_a_small_report_is_left_alone() -> None:
    report = _report("short", structured={"a": 1})
    assert _read(fit(report)) == report


@pytest.mark.parametrize("unit", ["x", "ü", "字", "😀", '"', "\n", "\x00"])
def test_a_long_text_is_cut_to_the_last_byte_that_fits(unit: str) -> None:
    data = fit(_report(unit * 5000))
    cut = _read(data)
    assert cut.result is not None
    assert cut.result.truncated
    assert cut.result.text == unit * len(cut.result.text)
    one_more = cut.model_copy(update={"result": cut.result.model_copy(update={"text": cut.result.text + unit})})
    assert len(data) <= MAX_BYTES < len(encode(one_more))


def test_a_structured_answer_that_is_too_large_gives_way_to_the_text() -> None:
    data = fit(_report("the text", structured={"a": "x" * 5000}))
    assert _read(data).result == Result(text="the text", truncated=True, stop_reason="end_turn")


@given(st.text(max_size=6000), st.text(max_size=1024), st.dictionaries(st.text(max_size=20), st.text(max_size=3000)))
def test_any_report_fits_and_stays_a_report(text: str, message: str, structured: dict[str, str]) -> None:
    verdict = Verdict(Outcome.FAILED, "AgentCrashed", message, True)
    result = Result(text=text, structured=structured)
    data = fit(final(ID, verdict, result, Usage(), 0))
    assert len(data) <= MAX_BYTES
    assert _read(data).reason == "AgentCrashed"
