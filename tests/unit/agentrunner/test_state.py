"""What is kept on the session's volume."""

import json
from pathlib import Path

import pytest

from agentrunner.errors import InvalidInput
from agentrunner.outcome import Verdict
from agentrunner.report import final
from agentrunner.state import State
from agentsessions.api.status import Result, Usage
from agentsessions.api.termination import Outcome, TerminationReport

ID, OTHER = "0b6b3a52-6d0f-4a3e-8f6c-2f8f2a3c1d10", "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def state(tmp_path: Path) -> State:
    """Return the open state of one session."""
    opened = State(tmp_path, ID)
    opened.open()
    return opened


def _finished() -> TerminationReport:
    return final(ID, Verdict(Outcome.SUCCEEDED, "Completed"), Result(text="ü" * 9000), Usage(turns=1), 0)


def test_a_new_volume_has_no_finished_turn(state: State) -> None:
    assert state.finished() is None


def test_a_finished_turn_is_kept_whole(state: State, tmp_path: Path) -> None:
    state.keep_finished(2, _finished())
    assert State(tmp_path, ID).finished() == _finished()


@pytest.mark.parametrize(
    ("reason", "bounds", "holds"),
    [
        ("MaxTurnsExceeded", (5, 6), False),
        ("MaxTurnsExceeded", (5, 5), True),
        ("MaxTurnsExceeded", (5, 4), True),
        ("MaxTurnsExceeded", (5, None), True),
        ("Completed", (5, 6), True),
    ],
)
def test_a_turn_that_ran_out_of_model_turns_is_over_until_it_has_more(
    tmp_path: Path, reason: str, bounds: tuple[int | None, int | None], holds: bool
) -> None:
    before = State(tmp_path, ID, bounds[0])
    before.open()
    before.keep_finished(0, final(ID, Verdict(Outcome.FAILED, reason), None, Usage(turns=5), 0))
    assert (State(tmp_path, ID, bounds[1]).finished() is not None) is holds


@pytest.mark.parametrize(("now", "holds"), [(5, True), (6, False)])
def test_of_an_earlier_runners_result_the_turns_that_were_used_count(tmp_path: Path, now: int, holds: bool) -> None:
    before = State(tmp_path, ID)
    before.open()
    before.keep_finished(0, final(ID, Verdict(Outcome.FAILED, "MaxTurnsExceeded"), None, Usage(turns=5), 0))
    assert (State(tmp_path, ID, now).finished() is not None) is holds


def test_a_volume_belongs_to_one_session(state: State, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=ID):
        State(tmp_path, OTHER).open()


def test_a_result_of_another_session_is_not_taken(state: State, tmp_path: Path) -> None:
    state.keep_finished(0, _finished())
    assert State(tmp_path, OTHER).finished() is None


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b'{"sessionId":"' + ID.encode() + b'"}'])
def test_a_result_that_was_not_written_whole_is_no_result(state: State, tmp_path: Path, left: bytes) -> None:
    tmp_path.joinpath("agentsessions/result.json").write_bytes(left)
    assert state.finished() is None


def test_usage_is_summed_over_attempts_and_an_attempt_counts_once(state: State, tmp_path: Path) -> None:
    state.keep_usage(0, Usage(turns=1, cost_usd="0.1"))
    state.keep_usage(0, Usage(turns=2, cost_usd="0.2"))
    assert state.keep_usage(1, Usage(turns=1, cost_usd="0.05")) == Usage(turns=3, cost_usd="0.25")
    kept = json.loads(tmp_path.joinpath("agentsessions/usage.json").read_text())
    assert (kept["sessionId"], sorted(kept["attempts"]), kept["total"]["costUsd"]) == (ID, ["0", "1"], "0.25")


def test_no_scratch_file_stays_behind(state: State, tmp_path: Path) -> None:
    state.keep_usage(0, Usage())
    state.keep_finished(0, _finished())
    names = sorted(path.name for path in tmp_path.joinpath("agentsessions").iterdir())
    assert names == ["result.json", "session.json", "usage.json"]
