"""The bound on requests: so many at a time, so many a second, none while the API server asks for a pause."""

import asyncio
import time

import pytest

from agentsessions import metrics
from agentsessions.kube.pace import Pace


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let sleep move the clock at once; what was slept is noted."""
    now, pauses, sleep = [100.0], list[float](), asyncio.sleep

    async def moved(seconds: float) -> None:
        now[0] += seconds
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(asyncio, "sleep", moved)
    return pauses


async def ask(pace: Pace, times: int) -> None:
    """Send so many requests, one after another."""
    for _ in range(times):
        async with pace:
            pass


async def test_a_burst_waits_for_nothing_and_what_follows_keeps_the_rate(slept: list[float]) -> None:
    pace = Pace(qps=10, burst=5)
    await ask(pace, 5)
    assert sum(slept) == 0
    await ask(pace, 20)
    assert sum(slept) == pytest.approx(2.0)


async def test_silence_makes_room_for_a_burst_but_never_for_more(slept: list[float]) -> None:
    pace = Pace(qps=10, burst=5)
    await ask(pace, 5)
    await asyncio.sleep(3600)
    slept.clear()
    await ask(pace, 6)
    assert sum(slept) == pytest.approx(0.1)


async def test_a_pause_that_is_asked_for_is_kept_by_all_and_ends_without_a_burst(slept: list[float]) -> None:
    pace = Pace(qps=10, burst=5)
    pace.pause(7)
    await ask(pace, 1)
    assert sum(slept) == pytest.approx(7.1)
    await ask(pace, 4)
    assert sum(slept) == pytest.approx(7.5)


async def test_who_waits_already_keeps_a_pause_too() -> None:
    pace = Pace(qps=20, burst=1)
    await ask(pace, 1)
    began, waiting = time.monotonic(), asyncio.create_task(ask(pace, 1))
    await asyncio.sleep(0.01)
    pace.pause(0.3)
    await waiting
    assert time.monotonic() - began >= 0.3


async def test_a_pause_that_nobody_would_ask_for_is_not_believed(slept: list[float]) -> None:
    pace = Pace()
    pace.pause(10**9)
    await ask(pace, 1)
    assert sum(slept) < 61


async def test_no_more_are_under_way_than_may_be() -> None:
    pace, busy, most, gate = Pace(in_flight=3), 0, 0, asyncio.Event()

    async def request() -> None:
        nonlocal busy, most
        async with pace:
            busy += 1
            most = max(most, busy)
            await gate.wait()
            busy -= 1

    tasks = [asyncio.create_task(request()) for _ in range(10)]
    await asyncio.sleep(0.01)
    assert busy == 3
    gate.set()
    await asyncio.gather(*tasks)
    assert most == 3


async def test_who_gives_up_while_waiting_leaves_its_place() -> None:
    pace = Pace(in_flight=1)
    pace.pause(30)
    waiting = asyncio.create_task(ask(pace, 1))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not pace._places.locked()


async def test_the_wait_is_measured(slept: list[float]) -> None:
    def waited() -> float:
        return metrics.REGISTRY.get_sample_value("agentsessions_kubernetes_throttled_seconds_total") or 0.0

    before = waited()
    await ask(Pace(qps=10, burst=1), 3)
    assert waited() - before == pytest.approx(0.2)
