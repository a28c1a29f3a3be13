"""Sessions that sleep: one write for any number of requests, asked again should nothing come of it."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentsessions.api.base import Json
from agentsessions.directory.config import DirectoryConfig
from agentsessions.directory.waking import Waker
from agentsessions.directory.world import SessionView, session_view
from agentsessions.kube.errors import Conflict, KubeError, NotFound, Transient
from agentsessions.kube.paths import SESSIONS
from unit.directory.stage import AT, POD_UID, Stage, pod, session

KEY = ("team", "one")
ASLEEP = SessionView("u", "Hybrid", "", "", "Asleep", False, False, frozenset())
NOW = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)


@dataclass
class Writes:
    """An API server that takes patches; `fails` are what the next ones come to."""

    patches: list[Json] = field(default_factory=list)
    fails: list[KubeError] = field(default_factory=list)
    where: list[Any] = field(default_factory=list)

    async def merge(self, kind: Any, namespace: str, name: str, patch: Json, *, manager: str, subresource: str) -> Json:
        """Take a patch."""
        await asyncio.sleep(0)
        self.patches.append(patch)
        self.where.append((kind, namespace, name, manager, subresource))
        if self.fails:
            raise self.fails.pop(0)
        return {}


@pytest.fixture
def kube() -> Writes:
    return Writes()


@pytest.fixture
def waker(kube: Writes) -> Waker:
    return Waker(kube, lambda: NOW)  # type: ignore[arg-type]


@pytest.mark.requirement("H12")
async def test_one_write_for_many_and_only_of_the_gateways_own_field(kube: Writes, waker: Waker) -> None:
    await asyncio.gather(*(waker.wake(KEY, ASLEEP) for _ in range(20)))
    assert kube.patches == [{"metadata": {"uid": "u"}, "status": {"lastRequestTime": "2026-05-04T12:00:00.123456Z"}}]
    assert kube.where == [(SESSIONS, *KEY, "agentsessions-gateway", "status")]


async def test_what_another_gateway_has_asked_for_is_not_asked_for_again(kube: Writes, waker: Waker) -> None:
    await waker.wake(KEY, ASLEEP._replace(requested="2026-05-04T12:00:00Z"))
    await waker.wake(KEY, ASLEEP._replace(requested="2026-05-04T12:00:00Z", answered="2026-05-04T11:00:00Z"))
    assert kube.patches == []


async def test_a_later_sleep_is_another_wake(kube: Writes, waker: Waker) -> None:
    await waker.wake(KEY, ASLEEP)
    again = ASLEEP._replace(requested="2026-05-04T12:00:00.123456Z", answered="2026-05-04T12:00:00.123456Z")
    await waker.wake(KEY, again)
    assert len(kube.patches) == 2


async def test_it_is_asked_again_after_a_while(kube: Writes, waker: Waker, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    await waker.wake(KEY, ASLEEP)
    now = 104.9
    await waker.wake(KEY, ASLEEP)
    assert len(kube.patches) == 1
    now = 105.1
    await waker.wake(KEY, ASLEEP)
    assert len(kube.patches) == 2


async def test_sessions_are_woken_one_by_one(kube: Writes, waker: Waker) -> None:
    for uid in ("a", "b"):
        await waker.wake(KEY, ASLEEP._replace(uid=uid))
    assert [patch["metadata"]["uid"] for patch in kube.patches] == ["a", "b"]


@pytest.mark.parametrize("error", [Conflict(409, "uid", "Conflict"), NotFound(404, "gone", "NotFound")])
async def test_a_session_that_is_another_by_now_is_left_to_the_watch(
    kube: Writes, waker: Waker, error: KubeError
) -> None:
    kube.fails = [error]
    await waker.wake(KEY, ASLEEP)
    await waker.wake(KEY, ASLEEP)
    assert len(kube.patches) == 1


async def test_a_write_that_failed_is_tried_by_the_next_request(kube: Writes, waker: Waker) -> None:
    kube.fails = [Transient(0, "no answer")]
    with pytest.raises(Transient):
        await waker.wake(KEY, ASLEEP)
    await waker.wake(KEY, ASLEEP)
    assert len(kube.patches) == 2


async def test_what_was_asked_long_ago_is_forgotten(waker: Waker, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for number in range(100):
        now = number * 10.0
        await waker.wake(KEY, ASLEEP._replace(uid=str(number)))
    assert len(waker._asked) == 1


def test_a_session_in_a_few_words_has_both_times() -> None:
    ready = {"type": "Ready", "status": "True", "reason": "Asleep"}
    status = {"conditions": [ready], "lastRequestTime": "b", "answeredRequestTime": "a", "suspendTime": "c"}
    status |= {"retryTime": "2026-05-04T12:00:00.123456Z"}
    view = session_view({"metadata": {"uid": "u"}, "spec": {"pattern": "Hybrid"}, "status": status})
    assert (view.is_asleep, view.is_suspended, view.is_held) == (True, False, False)
    assert (view.requested, view.answered, view.suspended, view.retry) == ("b", "a", "c", NOW)


def asleep(**change: Any) -> SessionView:
    """Return a session without a pod."""
    return session(**{"pattern": "Hybrid", "pod": "", "pod_uid": "", "reason": "Asleep"} | change)


@dataclass
class Sleeping(Stage):
    """A directory with a session that sleeps, and an operator that wakes it `after` so many writes."""

    after: int | None = 1
    asked: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cluster.merge = self._merge  # type: ignore[method-assign]
        self.world.session(KEY, asleep())

    async def _merge(self, *_: Any, **__: Any) -> Json:
        self.asked += 1
        if self.after is not None and self.asked >= self.after:
            self.world.session(KEY, asleep(reason="Waking", requested="x"))
            asyncio.get_running_loop().call_later(0.05, self.world.session, KEY, session())
        return {}


@pytest.mark.requirement("H12")
@pytest.mark.parametrize(("method", "tail"), [("POST", "/messages"), ("GET", "/events"), ("GET", "/ws")])
async def test_a_request_wakes_a_session_and_is_held_until_it_is_there(method: str, tail: str) -> None:
    stage = Sleeping(config=DirectoryConfig(hold_seconds=30))
    found = await asyncio.gather(*(stage.ask(AT + tail, method) for _ in range(10)))
    assert {one[:2] for one in found} == {(200, "allowed")}
    assert stage.asked == 1


@pytest.mark.parametrize(("method", "tail"), [("GET", ""), ("POST", "/interrupt")])
async def test_what_needs_no_process_wakes_none(method: str, tail: str) -> None:
    stage = Sleeping()
    assert (await stage.ask(AT + tail, method))[:2] == (409, "session-asleep")
    assert stage.asked == 0


async def test_a_suspended_session_is_not_woken() -> None:
    stage = Sleeping()
    stage.world.session(KEY, asleep(reason="Suspended"))
    assert (await stage.ask(f"{AT}/messages", "POST"))[:2] == (409, "session-suspended")
    assert stage.asked == 0


@pytest.mark.requirement("H50")
@pytest.mark.parametrize(
    ("reason", "slug"), [("TurnLimitReached", "turn-limit-reached"), ("AgeLimitReached", "age-limit-reached")]
)
async def test_one_that_has_reached_a_bound_is_not_woken(reason: str, slug: str) -> None:
    stage = Sleeping(config=DirectoryConfig(hold_seconds=30))
    stage.world.session(KEY, asleep(reason=reason, stalled=True))
    assert (await stage.ask(f"{AT}/messages", "POST"))[:2] == (409, slug)
    assert (await stage.ask(AT))[:2] == (409, "session-asleep")
    assert stage.asked == 0


@pytest.mark.requirement("H50")
async def test_one_that_has_reached_a_bound_and_is_awake_answers_for_itself() -> None:
    stage = Sleeping()
    stage.world.pod(POD_UID, pod())
    stage.world.session(KEY, session(reason="TurnLimitReached", stalled=True))
    assert (await stage.ask(f"{AT}/transcript"))[:2] == (200, "allowed")


@pytest.mark.requirement("H12", "H30")
async def test_one_that_was_woken_in_vain_and_has_no_pod_is_tried_again_by_a_message() -> None:
    stage = Sleeping(config=DirectoryConfig(hold_seconds=30))
    stage.world.session(KEY, asleep(reason="TranscriptMissing", stalled=True))
    assert (await stage.ask(AT))[:2] == (503, "session-stalled")
    assert stage.asked == 0
    assert (await stage.ask(f"{AT}/messages", "POST"))[:2] == (200, "allowed")
    assert stage.asked == 1


@dataclass
class InVain(Sleeping):
    """A directory with a session whose every wake is given up."""

    async def _merge(self, *_: Any, **__: Any) -> Json:
        self.asked += 1
        loop, word = asyncio.get_running_loop(), str(self.asked)
        told = self.world.session
        told(KEY, asleep(reason="Waking", pod="nap-1", requested=word, answered=word, suspended=self.slept()))
        given_up = asleep(reason="BackoffLimitExceeded", stalled=True, requested=word, answered=word, suspended=word)
        loop.call_later(0.05, told, KEY, given_up)
        return {}

    def slept(self) -> str:
        """Return when it last lost its pod."""
        return self.world.sessions[KEY].suspended


@pytest.mark.requirement("K02", "H12")
@pytest.mark.parametrize("reason", ["Asleep", "BackoffLimitExceeded"])
async def test_a_request_that_saw_a_wake_in_vain_gets_the_reason_and_asks_for_no_other(reason: str) -> None:
    stage = InVain(config=DirectoryConfig(hold_seconds=30))
    stage.world.session(KEY, asleep(reason=reason, stalled=reason != "Asleep"))
    first = asyncio.create_task(stage.ask(f"{AT}/messages", "POST"))
    await asyncio.sleep(0.02)
    late = asyncio.create_task(stage.ask(f"{AT}/messages", "POST"))  # while the session wakes
    for status, outcome, found in await asyncio.gather(first, late):
        assert (status, outcome) == (503, "session-stalled")
        assert "BackoffLimitExceeded" in found.body["detail"]
    assert stage.asked == 1
    assert (await stage.ask(f"{AT}/messages", "POST"))[:2] == (503, "session-stalled")
    assert stage.asked == 2, "the next message tries again, once"


@pytest.mark.requirement("H12", "H30")
@pytest.mark.parametrize(
    "change",
    [{"reason": "StoreRequired"}, {"reason": "ForkSourceNotFound"}, {"reason": "TranscriptMissing", "pod": "nap-0"}],
)
async def test_one_that_no_message_can_help_is_not_woken(change: Json) -> None:
    stage = Sleeping(config=DirectoryConfig(hold_seconds=30))
    stage.world.session(KEY, asleep(stalled=True, **change))
    assert (await stage.ask(f"{AT}/messages", "POST"))[:2] == (503, "session-stalled")
    assert stage.asked == 0


@pytest.mark.requirement("K02", "H12")
@pytest.mark.parametrize(("left", "told"), [(12, "30"), (100, "100")])
async def test_one_that_was_woken_in_vain_too_often_is_not_asked_for_before_its_time(left: float, told: str) -> None:
    stage = Sleeping(config=DirectoryConfig(hold_seconds=30))
    stage.whereabouts.waker.clock = lambda: NOW
    given_up = asleep(reason="BackoffLimitExceeded", stalled=True, retry=NOW + timedelta(seconds=left))
    stage.world.session(KEY, given_up)
    status, outcome, found = await stage.ask(f"{AT}/messages", "POST")
    assert (status, outcome, found.headers["Retry-After"]) == (503, "session-stalled", told)
    assert "BackoffLimitExceeded" in found.body["detail"]
    assert stage.asked == 0
    stage.whereabouts.waker.clock = lambda: NOW + timedelta(seconds=left)
    assert (await stage.ask(f"{AT}/messages", "POST"))[:2] == (200, "allowed")
    assert stage.asked == 1


async def test_one_that_is_suspended_while_a_request_waits_is_told_so() -> None:
    stage = Sleeping(config=DirectoryConfig(hold_seconds=30), after=None)
    waiting = asyncio.create_task(stage.ask(f"{AT}/messages", "POST"))
    await asyncio.sleep(0.05)
    stage.world.session(KEY, asleep(reason="Suspended"))
    assert (await waiting)[:2] == (409, "session-suspended")


async def test_a_request_that_may_not_wait_wakes_the_session_for_the_next() -> None:
    stage = Sleeping(config=DirectoryConfig(hold_seconds=30, max_held_per_session=0))
    status, outcome, found = await stage.ask(f"{AT}/messages", "POST")
    assert (status, outcome, found.headers["Retry-After"]) == (503, "session-not-ready", "2")
    assert stage.asked == 1


async def test_a_stranger_wakes_nobody() -> None:
    stage = Sleeping()
    assert (await stage.ask(f"{AT}/messages", "POST", token="stranger"))[0] == 404
    assert stage.asked == 0


async def test_a_control_plane_that_is_down_is_said_so() -> None:
    stage = Sleeping()

    async def down(*_: Any, **__: Any) -> Json:
        raise Transient(0, "no answer")

    stage.cluster.merge = down  # type: ignore[method-assign]
    assert (await stage.ask(f"{AT}/messages", "POST"))[:2] == (503, "control-plane-unavailable")
