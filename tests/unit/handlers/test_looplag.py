"""Whoever does not let go of the event loop is seen."""

import asyncio
import time

import pytest

from agentsessions import metrics
from agentsessions.handlers import looplag


def lag() -> float:
    """Return the sum of all lags so far, in seconds."""
    return metrics.REGISTRY.get_sample_value("agentsessions_event_loop_lag_seconds_sum") or 0.0


async def test_a_loop_that_is_held_up_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looplag, "_SECONDS", 0.02)
    task = asyncio.create_task(looplag.measure_lag())
    await asyncio.sleep(0.01)
    before = lag()
    time.sleep(0.3)  # noqa: ASYNC251 - this is what must be seen
    await asyncio.sleep(0.05)
    task.cancel()
    assert lag() - before > 0.25
