"""A tenth of the calls to the API server are answered in its place, with 429 or 500. Local cluster only."""

from collections.abc import Iterator
from contextlib import contextmanager

from e2e import proxy
from e2e.proxy import Json

_PERCENT = 5
"""Of each of the two answers."""


@contextmanager
def between(pid: int) -> Iterator[None]:
    """Have the calls of a process in a pod fail by chance."""
    with proxy.between(pid, filters=(_error(429), _error(500))):
        yield


def _error(status: int) -> Json:
    abort = {"http_status": status, "percentage": {"numerator": _PERCENT}}
    return {"name": f"error-{status}", "typed_config": proxy.fault(abort=abort)}
