"""Waiting for something to become true, with an end and an explanation."""

import time
from collections.abc import Callable

from cluster.errors import ClusterError


def wait_until(what: str, check: Callable[[], bool], timeout: float = 60.0, hint: Callable[[], str] = str) -> None:
    """Poll until check() holds; after `timeout` seconds raise ClusterError with hint()."""
    end = time.monotonic() + timeout
    while not check():
        if time.monotonic() > end:
            raise ClusterError(f"{what}: not after {timeout:.0f} s. {hint()}".strip())
        time.sleep(0.1)
