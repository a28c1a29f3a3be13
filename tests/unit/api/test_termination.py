"""The termination report: what an image may write, and what no image may make us swallow."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agentsessions.api.status import Result, Usage
from agentsessions.api.termination import MAX_BYTES, Outcome, ReportReason, TerminationReport
from unit.make import UID

COUNTS = st.integers(min_value=0, max_value=10**9)
USAGES = st.builds(
    Usage,
    turns=COUNTS,
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    cache_read_tokens=COUNTS,
    cache_creation_tokens=COUNTS,
    cost_usd=st.decimals(0, 10**6, places=6).map(lambda d: f"{d:f}"),
)
RESULTS = st.builds(
    Result,
    text=st.text(max_size=200),
    truncated=st.booleans(),
    structured=st.none() | st.dictionaries(st.text(max_size=5), st.integers(-9, 9) | st.none() | st.text(max_size=9)),
    stop_reason=st.none() | st.text(max_size=20),
)
REPORTS = st.builds(
    TerminationReport,
    session_id=st.uuids().map(str),
    outcome=st.sampled_from(Outcome),
    reason=st.sampled_from(ReportReason).map(str),
    message=st.text(max_size=100),
    retryable=st.booleans(),
    result=st.none() | RESULTS,
    usage=USAGES,
    oom_kills=st.integers(0, 99),
)


def report(**fields: Any) -> TerminationReport:
    """Return a report, with fields as they stand on the wire."""
    base = {"version": 1, "sessionId": UID, "outcome": "Failed", "reason": "AgentCrashed"}
    return TerminationReport.model_validate(base | fields)


@given(REPORTS)
def test_a_report_comes_back_as_it_was_written(written: TerminationReport) -> None:
    assert TerminationReport.model_validate(json.loads(json.dumps(written.to_json()))) == written


def test_a_report_without_content_leaves_most_of_the_message_for_the_answer() -> None:
    full = Usage(
        turns=100_000,
        input_tokens=10**12,
        output_tokens=10**12,
        cache_read_tokens=10**12,
        cache_creation_tokens=10**12,
        cost_usd="123456.123456",
    )
    empty = report(reason="ModelAuthenticationFailed", oomKills=9999, usage=full.to_json(), result=Result().to_json())
    assert len(json.dumps(empty.to_json()).encode()) <= MAX_BYTES // 4


def test_the_wire_form_is_the_one_that_is_documented() -> None:
    written = TerminationReport(
        session_id=UID,
        outcome=Outcome.SUCCEEDED,
        reason="Completed",
        result=Result(text="4 files", stop_reason="end_turn"),
        usage=Usage(turns=2, input_tokens=1, output_tokens=2, cost_usd="0.0123"),
    )
    assert written.to_json() == {
        "version": 1,
        "sessionId": UID,
        "outcome": "Succeeded",
        "reason": "Completed",
        "message": "",
        "retryable": False,
        "result": {"text": "4 files", "truncated": False, "stopReason": "end_turn"},
        "usage": {
            "turns": 2,
            "inputTokens": 1,
            "outputTokens": 2,
            "cacheReadTokens": 0,
            "cacheCreationTokens": 0,
            "costUsd": "0.0123",
        },
        "oomKills": 0,
    }


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"version": 2}, id="other-version"),
        pytest.param({"outcome": "Maybe"}, id="unknown-outcome"),
        pytest.param({"reason": "two words"}, id="reason-of-two-words"),
        pytest.param({"reason": ""}, id="empty-reason"),
        pytest.param({"reason": "R" * 65}, id="long-reason"),
        pytest.param({"oomKills": -1}, id="negative-kills"),
        pytest.param({"usage": {"turns": -1}}, id="negative-turns"),
        pytest.param({"usage": {"inputTokens": 10**19}}, id="more-tokens-than-64-bits"),
        pytest.param({"usage": {"costUsd": "-1"}}, id="negative-cost"),
        pytest.param({"usage": {"costUsd": "NaN"}}, id="cost-not-a-number"),
        pytest.param({"usage": {"costUsd": "1e9999"}}, id="cost-without-end"),
    ],
)
def test_a_report_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        report(**fields)


def test_fields_of_a_newer_image_are_ignored() -> None:
    assert report(invented={"deep": True}) == report()
