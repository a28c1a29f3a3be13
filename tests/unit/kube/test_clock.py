"""Another machine's clock, learned from the `Date` of its answers."""

from dataclasses import dataclass, field
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.kube.clock import LearnedClock

START = 1_800_000_000.0
APART = st.floats(min_value=-1000, max_value=1000)


@dataclass
class Two:
    """Two machines: ours, whose clock may be set, and the other, whose clock is `apart` seconds ahead of the time."""

    apart: float
    time: float = START + 0.4
    set_by: float = 0.0
    clock: LearnedClock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = LearnedClock(lambda: self.time + self.set_by, lambda: self.time - START)

    @property
    def there(self) -> float:
        return self.time + self.apart

    def ask(self, *, way: float = 0.01) -> None:
        """Have an answer, `way` seconds under way to there and back each."""
        since = self.clock.steady()
        self.time += way
        date = formatdate(self.there, usegmt=True)
        self.time += way
        self.clock.learn(date, since)


def test_until_an_answer_has_come_the_time_is_ours() -> None:
    two = Two(300)
    assert two.clock.now() == two.time


@given(apart=APART, way=st.floats(min_value=0, max_value=20))
def test_one_answer_is_enough(apart: float, way: float) -> None:
    two = Two(apart)
    two.ask(way=way)
    assert abs(two.clock.now() - two.there) <= 1.001 + 2 * way


@given(apart=APART, step=APART, way=st.floats(min_value=0, max_value=0.1))
def test_our_clock_may_be_set_and_what_we_know_of_the_other_stays(apart: float, step: float, way: float) -> None:
    two = Two(apart)
    two.ask(way=way)
    known = two.clock.now()
    two.set_by = step
    assert two.clock.now() == known
    two.time += 3600
    assert two.clock.now() == pytest.approx(known + 3600)


@pytest.mark.parametrize("step", [300, -300])
def test_a_clock_that_is_set_there_is_followed(step: float) -> None:
    two = Two(0)
    two.ask()
    two.apart = step
    two.ask()
    assert two.clock.now() == pytest.approx(two.there, abs=1.1)


def test_a_slow_answer_changes_nothing_that_it_does_not_contradict() -> None:
    two = Two(0.0)
    two.ask()
    before = two.clock.now() - two.time
    two.ask(way=20)
    assert two.clock.now() - two.time == pytest.approx(before)
    assert before == 0, "while the two agree, ours is the better one: it has parts of seconds"


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 01 Jan 99999 00:00:00 GMT"])
def test_what_is_no_date_is_let_pass(date: str | None) -> None:
    two = Two(300)
    two.clock.learn(date, 0)
    assert two.clock.now() == two.time
