"""The queue of sessions: each once, never twice at a time, again later after trouble, and a clean end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from agentsessions import metrics
from agentsessions.kube.errors import Conflict, KubeError, NotFound, Refused, Transient
from agentsessions.reconcile.queue import SessionQueue

A, B, C = ("n", "a"), ("n", "b"), ("n", "c")
Key = tuple[str, str]


@dataclass
class Timer:
    """A timer that goes off when the test says so."""

    delay: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        """Forget it."""
        self.cancelled = True


@dataclass
class Work:
    """Work that waits for the test, and notes what is done at the same time."""

    outcomes: dict[Key, list[timedelta | BaseException | None]] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    begun: list[Key] = field(default_factory=list)
    busy: list[Key] = field(default_factory=list)
    most: int = 0

    async def __call__(self, key: Key) -> timedelta | None:
        """Work on a key."""
        assert key not in self.busy, "two workers on one key"
        self.begun.append(key)
        self.busy.append(key)
        self.most = max(self.most, len(self.busy))
        try:
            await self.gate.wait()
        finally:
            self.busy.remove(key)
        outcome = self.outcomes.get(key, [None]).pop(0) if self.outcomes.get(key) else None
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
async def timers(monkeypatch: pytest.MonkeyPatch) -> list[Timer]:
    """Take the clock away from the queue."""
    made: list[Timer] = []

    def call_later(delay: float, callback: Callable[..., None], *args: object) -> Timer:
        made.append(Timer(delay, lambda: callback(*args)))
        return made[-1]

    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", call_later)
    return made


@asynccontextmanager
async def running(queue: SessionQueue) -> AsyncIterator[None]:
    """Run the workers for a while."""
    task = asyncio.create_task(queue.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def idle() -> None:
    """Let everything that can run, run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_asking_twice_is_asking_once(work: Work) -> None:
    queue = SessionQueue(work, 2)
    queue.add(A)
    queue.add(A)
    work.gate.set()
    async with running(queue):
        await idle()
    assert work.begun == [A]


async def test_what_was_merely_listed_waits_for_the_others_and_is_done_once(work: Work) -> None:
    queue = SessionQueue(work, 1)
    for key in (A, B):
        queue.add(key, listed=True)
    queue.add(C)
    queue.add(B)  # something has happened to it since
    queue.add(B, listed=True)
    work.gate.set()
    async with running(queue):
        await idle()
    assert work.begun == [C, B, A]


async def test_the_age_of_the_queue_is_that_of_changes(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = SessionQueue(work, 1)
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    queue.add(A, listed=True)
    clock[0] = 1030.0
    assert queue._oldest_wish() == 0
    queue.add(B)
    clock[0] = 1040.0
    assert queue._oldest_wish() == 10


async def test_what_was_listed_waits_no_longer_than_ten_minutes(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = SessionQueue(work, 1)
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    for key, at in ((A, 0.0), (B, 599.0), (C, 601.0)):
        clock[0] = 1000.0 + at
        queue.add(key, listed=key == A)
    work.gate.set()
    async with running(queue):
        await idle()
    assert work.begun == [B, A, C]


async def test_different_sessions_are_worked_on_at_the_same_time_up_to_a_bound(work: Work) -> None:
    queue = SessionQueue(work, 2)
    for key in (A, B, C):
        queue.add(key)
    async with running(queue):
        await idle()
        assert work.busy == [A, B]
        work.gate.set()
        await idle()
    assert work.begun == [A, B, C]
    assert work.most == 2


async def test_what_is_asked_for_during_the_work_is_done_once_more_and_not_at_the_same_time(work: Work) -> None:
    queue = SessionQueue(work, 4)
    queue.add(A)
    async with running(queue):
        await idle()
        queue.add(A)
        queue.add(A)
        await idle()
        assert work.begun == [A]
        work.gate.set()
        await idle()
    assert work.begun == [A, A]


async def test_work_that_says_when_is_done_again_then(work: Work, timers: list[Timer]) -> None:
    work.outcomes[A] = [timedelta(seconds=7)]
    work.gate.set()
    queue = SessionQueue(work, 1)
    queue.add(A)
    async with running(queue):
        await idle()
        assert [timer.delay for timer in timers] == [7]
        timers[0].callback()
        await idle()
    assert work.begun == [A, A]


async def test_a_time_in_the_past_is_now(work: Work, timers: list[Timer]) -> None:
    SessionQueue(work, 1).add_later(A, -5)
    assert [timer.delay for timer in timers] == [0]


async def test_the_latest_wish_replaces_the_one_before(work: Work, timers: list[Timer]) -> None:
    queue = SessionQueue(work, 1)
    queue.add_later(A, 5)
    queue.add_later(A, 9)
    queue.add_later(B, 1)
    assert [timer.cancelled for timer in timers] == [True, False, False]


async def test_a_session_that_is_gone_is_forgotten(work: Work, timers: list[Timer]) -> None:
    queue = SessionQueue(work, 1)
    queue.add_later(A, 5)
    queue.forget(A)
    queue.forget(B)
    assert timers[0].cancelled


@pytest.mark.parametrize(
    ("error", "delays"),
    [
        pytest.param(Conflict(409, "stale"), [0.5, 0.5, 0.5], id="stale-is-retried-soon"),
        pytest.param(NotFound(404, "gone"), [0.5, 0.5, 0.5], id="gone-is-looked-at-again"),
        pytest.param(Transient(500, "down"), [1, 2, 4], id="trouble-backs-off"),
        pytest.param(Refused(422, "no"), [1, 2, 4], id="refusal-backs-off"),
        pytest.param(Transient(429, "slow", retry_after=17), [17, 17, 17], id="retry-after-is-obeyed"),
        pytest.param(Transient(429, "slow", retry_after=1), [1, 2, 4], id="and-still-backs-off"),
        pytest.param(ZeroDivisionError("bug"), [1, 2, 4], id="a-bug-backs-off"),
    ],
)
async def test_trouble(error: Exception, delays: list[float], work: Work, timers: list[Timer]) -> None:
    work.outcomes[A] = [error, error, error]
    work.gate.set()
    queue = SessionQueue(work, 1)
    async with running(queue):
        for number in range(3):
            queue.add(A)
            await idle()
            assert timers[number].delay == delays[number]


async def test_backing_off_has_an_end_and_success_starts_over(work: Work, timers: list[Timer]) -> None:
    work.outcomes[A] = [*[Transient(503, "down")] * 12, None, Transient(503, "down")]
    work.gate.set()
    queue = SessionQueue(work, 1)
    async with running(queue):
        for _ in range(14):
            queue.add(A)
            await idle()
    assert [timer.delay for timer in timers] == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60, 1]


async def test_one_sessions_trouble_is_not_anothers(work: Work, timers: list[Timer]) -> None:
    work.outcomes[A] = [ZeroDivisionError()]
    work.gate.set()
    queue = SessionQueue(work, 1)
    queue.add(A)
    queue.add(B)
    async with running(queue):
        await idle()
    assert work.begun == [A, B]
    assert len(timers) == 1


async def test_the_log_names_the_session_and_the_error(
    work: Work, timers: list[Timer], caplog: pytest.LogCaptureFixture
) -> None:
    work.outcomes[A] = [Transient(503, "down")]
    work.gate.set()
    queue = SessionQueue(work, 1)
    queue.add(A)
    async with running(queue):
        await idle()
    (record,) = [r for r in caplog.records if r.levelname == "WARNING"]
    assert record.__dict__["fields"] == {"namespace": "n", "name": "a", "error": "503 down", "retry_seconds": 1}


async def test_draining_waits_for_what_is_in_hand_and_starts_nothing_more(work: Work) -> None:
    queue = SessionQueue(work, 1)
    queue.add(A)
    queue.add(B)
    async with running(queue):
        await idle()
        drain = asyncio.create_task(queue.drain(3600))
        await idle()
        assert not drain.done()
        work.gate.set()
        await drain
        await idle()
    assert work.begun == [A]


async def test_draining_an_idle_queue_takes_no_time(work: Work) -> None:
    await SessionQueue(work, 1).drain(3600)


async def test_draining_gives_up_on_work_that_hangs(work: Work) -> None:
    queue = SessionQueue(work, 1)
    queue.add(A)
    async with running(queue):
        await idle()
        await queue.drain(0)
        assert work.busy == [A]


async def test_outcomes_and_depth_are_measured(work: Work, timers: list[Timer]) -> None:
    def counted(outcome: str) -> float:
        return metrics.reconciles.labels(outcome)._value.get()

    before = {outcome: counted(outcome) for outcome in ("done", "conflict", "gone", "error")}
    work.outcomes[A] = [None, Conflict(409, ""), NotFound(404, ""), KubeError(500, "")]
    queue = SessionQueue(work, 1)
    queue.add(A)
    queue.add(B)
    assert metrics.queue_depth._value.get() == 2
    work.gate.set()
    async with running(queue):
        for _ in range(4):
            await idle()
            queue.add(A)
        await idle()
    assert metrics.queue_depth._value.get() == 0
    assert {o: counted(o) - before[o] for o in before} == {"done": 3, "conflict": 1, "gone": 1, "error": 1}


async def test_ages_are_those_of_the_moment_in_which_they_are_asked_for(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def ages() -> list[float | None]:
        names = ("agentsessions_reconcile_queue_oldest_age_seconds", "agentsessions_reconcile_longest_running_seconds")
        return [metrics.REGISTRY.get_sample_value(name) for name in names]

    queue = SessionQueue(work, 1)
    async with running(queue):
        await idle()
        assert ages() == [0, 0]
        queue.add(A)
        await idle()
        now[0] += 5
        queue.add(B)
        now[0] += 2
        queue.add(C)
        now[0] += 1
        queue.add(B)  # asking again makes nobody younger
        assert ages() == [3, 8]
        work.gate.set()
        await idle()
        assert ages() == [0, 0]
