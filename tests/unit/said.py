"""Takes note of conditions as they are made: a type, a status and a reason each."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from agentsessions.api import conditions


class Said(NamedTuple):
    """What a condition says, in words that do not change with the case."""

    kind: str
    status: str
    reason: str


@contextmanager
def overheard(note: Callable[[Said], None]) -> Iterator[None]:
    """Tell `note` of every condition that is made meanwhile: there is one function that makes them."""
    make = conditions._condition

    def made(before: Any, kind: str, status: Any, reason: str, *rest: Any) -> Any:
        note(Said(str(kind), str(status), str(reason)))
        return make(before, kind, status, reason, *rest)

    conditions._condition = made
    try:
        yield
    finally:
        conditions._condition = make
