"""The last events of a session: numbered, bounded, and read at each reader's own pace."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrunner.serving.eventlog import EventLog, EventsLost


def filled(count: int, **bounds: int) -> EventLog:
    """Return a log to which so many events were added."""
    log = EventLog("abc", **bounds)
    for number in range(count):
        log.append("message", {"n": number}, turn=1)
    return log


def numbers(log: EventLog, after: int) -> list[int]:
    return [event.number for event in log.after(after)]


def test_events_are_numbered_from_one_without_a_gap() -> None:
    log = filled(3)
    assert (numbers(log, 0), numbers(log, 2), numbers(log, 3)) == ([1, 2, 3], [3], [])
    assert [json.loads(event.data) for event in log.after(0)] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert (log.last, log.oldest, log.id_of(3)) == (3, 1, "abc-3")


@pytest.mark.requirement("H25")
@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 400))
def test_it_is_bounded_by_number_and_by_bytes_and_keeps_the_newest(count: int, most: int, size: int) -> None:
    log = filled(count, max_events=most, max_bytes=size)
    kept = log.after(log.oldest - 1)
    assert kept[-1].number == count
    assert len(kept) <= most
    assert len(kept) == 1 or sum(len(event.data) for event in kept) <= size
    assert [event.number for event in kept] == list(range(log.oldest, count + 1))


def test_an_event_over_the_bound_is_kept_until_the_next() -> None:
    log = filled(2, max_bytes=100)
    log.append("message", "x" * 1000, turn=1)
    assert numbers(log, log.oldest - 1) == [3]


def test_a_reader_that_fell_off_the_end_is_told() -> None:
    log = filled(10, max_events=4)
    assert numbers(log, 6) == [7, 8, 9, 10]
    with pytest.raises(EventsLost):
        log.after(5)


@pytest.mark.parametrize("event_id", ["abc-4", "abc-", "abc", "-1", "other-1", "0", "abc--1", "abc-1x", "abc-²"])
def test_an_id_of_no_event_here_is_lost(event_id: str) -> None:
    with pytest.raises(EventsLost):
        filled(3).number_of(event_id)


def test_an_id_leads_back_to_its_number_and_zero_is_the_start() -> None:
    log = filled(3)
    assert [log.number_of(log.id_of(number)) for number in (0, 1, 3)] == [0, 1, 3]


async def test_all_who_wait_are_woken_by_an_event() -> None:
    log = filled(1)
    waiting = [asyncio.create_task(log.wait(1, 60)) for _ in range(3)]
    await asyncio.sleep(0)
    log.append("done", {}, turn=1)
    assert await asyncio.gather(*waiting) == [True, True, True]


async def test_a_quiet_while_is_no_end_and_a_closed_log_is() -> None:
    log = filled(1)
    assert await log.wait(1, 0.01) is True
    waiting = asyncio.create_task(log.wait(1, 60))
    await asyncio.sleep(0)
    log.close()
    assert await waiting is False
    assert await log.wait(1, 60) is False
    assert await log.wait(0, 60) is True, "what came before the end can still be read"
