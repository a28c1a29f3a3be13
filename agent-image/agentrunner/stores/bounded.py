"""Every call to a server ends in time, and its errors become ours, without what they quote."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from agentrunner.stores.base import TIMEOUT_SECONDS, StoreError, StoreUnreachable

Explain = Callable[[Exception], StoreError | None]
"""Says in our words what a client library's error means; None for one that is not the store's."""

_BYTES_PER_SECOND = 1024 * 1024


def patience(size: int) -> float:
    """Return the seconds that a call may take which moves `size` bytes."""
    return TIMEOUT_SECONDS + size / _BYTES_PER_SECOND


@asynccontextmanager
async def bounded(explain: Explain, seconds: float = TIMEOUT_SECONDS) -> AsyncIterator[None]:
    """Run the body for at most `seconds`; raise StoreError for what fails in it.

    The first error is left out of the trace: libraries quote addresses and entries.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except StoreError:
        raise
    except TimeoutError:
        raise StoreUnreachable(f"the session store gave no answer within {seconds:.0f} s") from None
    except Exception as error:
        known = explain(error)
        if known is None:
            raise
        raise known from None
