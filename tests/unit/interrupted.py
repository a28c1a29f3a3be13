"""Something happens in the middle of a pass: at one of the requests that it makes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from unit.world import Request, World


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
