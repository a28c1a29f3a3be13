"""Something happens in the middle of a pass: at one of the requests that it makes."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from agentsessions.kube.errors import Transient
from unit.world import Crash, Request, World

NUMBERS = st.integers(min_value=0, max_value=9)
MOMENTS = st.sampled_from(["before", "after"])


@contextmanager
def at_request(world: World, number: int, moment: str, what: Callable[[], object]) -> Iterator[None]:
    """Have something happen `before` or `after` a request that is made in the block, counted from 0."""
    count = 0

    def hook(when: str, request: Request) -> None:
        nonlocal count
        if when == moment:
            count += 1
            if count == number + 1:
                world.around = lambda *_: None
                what()

    world.around = hook
    try:
        yield
    finally:
        world.around = lambda *_: None


def raise_(error: BaseException) -> None:
    """Raise, where only an expression may stand."""
    raise error


class Interrupted(RuleBasedStateMachine):
    """An operator whose passes may be cut short, by its death or by an answer that is lost, at any of its requests."""

    @rule(number=NUMBERS, moment=MOMENTS)
    def look_and_be_killed(self, number: int, moment: str) -> None:
        self.at_request(number, moment, lambda: raise_(Crash()))

    @rule(number=NUMBERS, moment=MOMENTS)
    def look_and_lose_an_answer(self, number: int, moment: str) -> None:
        self.at_request(number, moment, lambda: raise_(Transient(0, "no answer")))

    @abstractmethod
    def at_request(self, number: int, moment: str, what: Callable[[], object]) -> None:
        """Reconcile, with something happening at a request, counted from 0."""
