"""How late the event loop is: everything in the process waits for whoever does not let go of it."""

import asyncio
import time

from agentsessions import metrics

_SECONDS = 0.5


async def measure_lag() -> None:
    """Measure for ever how much later than asked for a sleeper is woken."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(_SECONDS)
        metrics.loop_lag.observe(max(0.0, time.monotonic() - began - _SECONDS))
