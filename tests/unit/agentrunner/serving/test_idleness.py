"""Since when a session has nothing to do."""

from datetime import UTC, datetime, timedelta

import pytest

from agentrunner.serving.idleness import Idleness

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> datetime:
        """Let time go by; return what it is then."""
        self.now += timedelta(seconds=seconds)
        return self.now


@pytest.mark.requirement("H12")
@pytest.mark.parametrize(
    ("busy", "streams", "background", "tasks", "idle"),
    [
        (False, 0, 0, 0, True),
        (True, 0, 0, 0, False),
        (False, 1, 0, 0, False),
        (False, 0, 1, 0, False),
        (False, 0, 0, 1, False),
        (True, 2, 3, 4, False),
    ],
)
def test_turns_streams_and_background_work_keep_it_awake(
    busy: bool, streams: int, background: int, tasks: int, idle: bool
) -> None:
    idleness = Idleness(Clock())
    idleness.background, idleness.tasks = background, ("local_bash",) * tasks
    assert idleness.note(busy=busy, streams=streams) is not idle
    assert idleness.since == (NOW if idle else None)


@pytest.mark.parametrize(
    ("kinds", "delegates"),
    [((), False), (("local_bash",), False), (("local_bash", "local_agent"), True), (("local_workflow",), True)],
)
def test_who_works_for_the_agent_in_the_background_is_no_shell(kinds: tuple[str, ...], delegates: bool) -> None:
    idleness = Idleness(Clock())
    idleness.tasks = kinds
    assert idleness.delegates is delegates


def test_it_is_idle_since_the_last_of_it_ended() -> None:
    clock = Clock()
    idleness = Idleness(clock)
    clock.pass_by(10)
    assert not idleness.note(busy=False, streams=0)
    assert idleness.since == NOW, "as long as nothing happens"
    assert idleness.note(busy=True, streams=0)
    clock.pass_by(5)
    assert not idleness.note(busy=True, streams=1), "still at work"
    assert not idleness.note(busy=False, streams=1)
    ended = clock.pass_by(5)
    assert idleness.note(busy=False, streams=0)
    assert idleness.since == ended
    clock.pass_by(60)
    assert not idleness.note(busy=False, streams=0)
    assert idleness.since == ended


def test_a_moment_of_work_between_two_looks_begins_it_anew() -> None:
    clock = Clock()
    idleness = Idleness(clock)
    clock.pass_by(100)
    idleness.note(busy=True, streams=0)
    idleness.note(busy=False, streams=0)
    assert idleness.since == clock.now
