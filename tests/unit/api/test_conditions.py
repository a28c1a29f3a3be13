"""The table of conditions, held against what kstatus makes of it."""

from datetime import timedelta

import pytest

from agentsessions.api.conditions import MAX_MESSAGE, ConditionType, Reason, State, conditions_for
from agentsessions.api.status import AgentSessionStatus, Condition
from unit.kstatus import kstatus
from unit.make import NOW, make_session


def conditions(state: State, previous: list[Condition] | None = None, **fields: object) -> list[Condition]:
    """Return the row of a state."""
    options = {"generation": 1, "now": NOW} | fields
    return conditions_for(state, "Because", "It is so.", previous=previous or [], **options)  # type: ignore[arg-type]


def status_of(state: State, generation: int = 1) -> AgentSessionStatus:
    """Return a status in that state."""
    return AgentSessionStatus(conditions=conditions(state), observed_generation=generation)


def by_type(found: list[Condition]) -> dict[str, str]:
    """Return the status of each condition."""
    return {c.type: c.status for c in found}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param(State.PROGRESSING, "InProgress", id="progressing"),
        pytest.param(State.RUNNING, "Current", id="running"),
        pytest.param(State.SUCCEEDED, "Current", id="succeeded"),
        pytest.param(State.BLOCKED, "Failed", id="blocked"),
        pytest.param(State.FAILED, "Failed", id="failed"),
    ],
)
def test_kstatus_of_every_state(state: State, expected: str) -> None:
    assert kstatus(make_session().with_status(status_of(state)).json()) == expected


def test_kstatus_waits_for_a_newer_generation_to_be_seen() -> None:
    session = make_session().with_meta(generation=2).with_status(status_of(State.SUCCEEDED, generation=1))
    assert kstatus(session.json()) == "InProgress"


def test_kstatus_of_a_session_that_is_being_deleted() -> None:
    assert kstatus(make_session().with_status(status_of(State.FAILED)).deleting().json()) == "Terminating"


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_ready_active_and_succeeded(state: State) -> None:
    assert {"Ready", "Active", "Succeeded"} <= set(by_type(conditions(state)))


@pytest.mark.parametrize("state", list(State))
def test_abnormal_conditions_are_absent_when_there_is_nothing_to_say(state: State) -> None:
    row = by_type(conditions(state))
    abnormal = {kind: row[kind] for kind in ("Reconciling", "Stalled") if kind in row}
    assert set(abnormal.values()) <= {"True"}
    assert len(abnormal) <= 1


@pytest.mark.parametrize(
    ("state", "succeeded"),
    [
        (State.PROGRESSING, "Unknown"),
        (State.RUNNING, "Unknown"),
        (State.BLOCKED, "Unknown"),
        (State.SUCCEEDED, "True"),
        (State.FAILED, "False"),
    ],
)
def test_succeeded_is_unknown_until_the_end(state: State, succeeded: str) -> None:
    assert by_type(conditions(state))[ConditionType.SUCCEEDED] == succeeded


def test_only_a_running_session_is_active() -> None:
    active = {state for state in State if by_type(conditions(state))["Active"] == "True"}
    assert active == {State.RUNNING}


def test_the_transition_time_moves_only_when_the_status_flips() -> None:
    before = conditions(State.RUNNING)
    after = conditions(State.SUCCEEDED, before, now=NOW + timedelta(hours=1))
    moved = {c.type: c.last_transition_time - NOW for c in after}
    assert moved == {"Ready": timedelta(), "Active": timedelta(hours=1), "Succeeded": timedelta(hours=1)}


def test_conditions_name_their_generation() -> None:
    assert {c.observed_generation for c in conditions(State.BLOCKED, generation=4)} == {4}


def test_a_long_message_is_cut() -> None:
    row = conditions_for(State.FAILED, "Because", "x" * 5000, previous=[], generation=1, now=NOW)
    assert {len(c.message) for c in row} == {MAX_MESSAGE}


@pytest.mark.parametrize("reason", list(Reason))
def test_reasons_are_one_camel_case_word(reason: Reason) -> None:
    assert reason.value.isalnum()
    assert reason.value[0].isupper()
