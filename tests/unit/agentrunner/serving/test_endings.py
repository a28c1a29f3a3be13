"""How turns end: which of them a bound has ended, and what their last event says."""

from typing import Any

import pytest
from claude_agent_sdk import ResultMessage

from agentrunner.serving.endings import CRASHED, OVERDUE_TURN, STARVED, cut_short, died, done


def result(**fields: Any) -> ResultMessage:
    known: dict[str, Any] = {
        "subtype": "success",
        "duration_ms": 1,
        "duration_api_ms": 1,
        "is_error": False,
        "num_turns": 3,
    }
    return ResultMessage(session_id="s", **known | fields)


SPENT = {"subtype": "error_max_turns", "is_error": True, "terminal_reason": "max_turns"}
BUSY = {"is_error": True, "api_error_status": 529}


@pytest.mark.requirement("H50")
@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        pytest.param(SPENT, "MaxTurnsExceeded", "agent.maxTurns", id="turns"),
        pytest.param(BUSY, "ModelUnavailable", "agent.maxApiRetries", id="overloaded"),
        pytest.param({"is_error": True}, "ModelUnavailable", "agent.maxApiRetries", id="no answer"),
    ],
)
def test_a_turn_that_a_bound_has_ended_says_which(fields: dict[str, Any], reason: str, field: str) -> None:
    cut = cut_short(result(**fields))
    assert cut is not None
    assert (cut.reason, f"`{field}`" in cut.message) == (reason, True)


def test_it_says_so_in_the_same_words_however_many_turns_it_took() -> None:
    assert cut_short(result(**SPENT, num_turns=3)) == cut_short(result(**SPENT, num_turns=9))


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="answered"),
        pytest.param({"subtype": "error_during_execution", "is_error": True}, id="interrupted"),
        pytest.param({**SPENT, "terminal_reason": "aborted_tools"}, id="interrupted at its last turn"),
        pytest.param({"is_error": True, "api_error_status": 401}, id="refused by the model"),
    ],
)
def test_others_have_reached_no_bound(fields: dict[str, Any]) -> None:
    assert cut_short(result(**fields)) is None


def test_the_last_event_of_a_turn_says_nothing_if_all_is_well() -> None:
    assert done(None, None) == done(None, True) == {}
    assert done(None, False) == {"transcriptDurable": False}
    cut = cut_short(result(**SPENT))
    assert cut is not None
    said = {"reason": "MaxTurnsExceeded", "message": cut.message}
    assert (done(cut, True), done(cut, False)) == (said, said | {"transcriptDurable": False})


def test_a_process_that_was_ended_for_its_time_did_not_die_of_anything_else() -> None:
    assert died(overdue=True, starved=True) == OVERDUE_TURN
    assert died(overdue=False, starved=True) == STARVED
    assert died(overdue=False, starved=False) == CRASHED
