"""When a conversation has reached a bound."""

from datetime import timedelta

import pytest

from agentsessions.api.bounds import Limit, SessionLimits, explain, reached
from agentsessions.api.conditions import LIMITED, Reason
from agentsessions.api.status import Usage
from unit.make import NOW

ALL = SessionLimits(max_session_turns=10, not_after=NOW)


@pytest.mark.parametrize(
    ("limits", "turns", "after", "expected"),
    [
        (SessionLimits(), 10**6, 10**6, None),
        (ALL, 9, -1, None),
        (ALL, 10, -1, Limit.TURNS),
        (ALL, 9, 0, Limit.AGE),
        (ALL, 11, 1, Limit.TURNS),
        (ALL, None, -1, None),
    ],
)
def test_reached(limits: SessionLimits, turns: int | None, after: int, expected: Limit | None) -> None:
    usage = None if turns is None else Usage(turns=turns)
    assert reached(limits, usage, NOW + timedelta(seconds=after)) is expected


def test_every_bound_is_a_reason_and_names_its_field() -> None:
    assert {Reason(limit) for limit in Limit} == LIMITED
    assert [("maxSessionTurns" in explain(Limit.TURNS)), ("maxAgeSeconds" in explain(Limit.AGE))] == [True, True]
