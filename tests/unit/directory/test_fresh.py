"""No refusal for what was undone before the request came; and few reads, however often is asked."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from agentsessions.api.base import Json
from agentsessions.directory import fresh
from agentsessions.directory.config import DirectoryConfig
from agentsessions.directory.fresh import Fresh
from agentsessions.directory.world import SessionView, session_view
from agentsessions.kube.errors import Transient
from agentsessions.kube.paths import Kind
from unit.directory.stage import AT, POD_UID, UID, Cluster, Stage, session

KEY = ("team", "one")


def body(reason: str, pod: str = "", uid: str = UID) -> Json:
    """Return a session as the API server has it."""
    condition = {"type": "Ready", "status": "True", "reason": reason}
    host = {"host": {"pod": pod, "podUID": POD_UID}} if pod else {}
    status = {"conditions": [condition], **host}
    return {"metadata": {"uid": uid}, "spec": {"pattern": "Hybrid"}, "status": status}


@dataclass
class Told(Cluster):
    """An API server with one session, or one that fails or does not answer."""

    body: Json | None = None
    error: Exception | None = None
    hangs: bool = False
    reads: int = 0
    merged: list[Json] = field(default_factory=list)

    async def get(self, kind: Kind, namespace: str, name: str) -> Any:
        self.reads += 1
        await asyncio.sleep(3600 if self.hangs else 0)
        if self.error is not None:
            raise self.error
        return self.body

    async def merge(self, kind: Kind, *_: Any, **__: Any) -> Json:
        self.merged.append({})
        return {}


def told(view: SessionView, cluster: Told) -> Stage:
    """Return a directory whose watch has told this, beside what the API server has."""
    stage = Stage(cluster=cluster)
    stage.world.session(KEY, view)
    return stage


def asleep(reason: str) -> SessionView:
    """Return a session without a pod."""
    return session(pattern="Hybrid", pod="", pod_uid="", reason=reason)


@pytest.mark.requirement("H12")
@pytest.mark.parametrize("reason", ["Suspended", "TurnLimitReached", "AgeLimitReached"])
async def test_a_session_that_takes_messages_again_is_woken_though_the_watch_is_behind(reason: str) -> None:
    stage = told(asleep(reason), cluster := Told(body=body("Asleep")))
    assert (await stage.ask(f"{AT}/messages", "POST"))[:2] == (503, "session-not-ready")
    assert len(cluster.merged) == 1


async def test_one_that_runs_again_is_there_though_the_watch_is_behind() -> None:
    stalled = session(pattern="Hybrid", reason="ImagePullFailed", stalled=True)
    stage = told(stalled, Told(body=body("Running", "chat-0")))
    assert (await stage.ask(f"{AT}/messages", "POST"))[:2] == (200, "allowed")


async def test_one_that_is_still_suspended_is_refused() -> None:
    stage = told(asleep("Suspended"), cluster := Told(body=body("Suspended")))
    assert (await stage.ask(f"{AT}/messages", "POST"))[:2] == (409, "session-suspended")
    assert cluster.merged == []


@pytest.mark.parametrize(
    "cluster",
    [Told(error=Transient(0, "no answer")), Told(hangs=True), Told(body=None), Told(body={"message": "not JSON"})],
    ids=["fails", "hangs", "gone", "no session"],
)
async def test_what_the_watch_told_holds_where_nobody_can_say_more(
    cluster: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh, "_PATIENCE_SECONDS", 0.01)
    stage = told(asleep("Suspended"), cluster)
    assert (await stage.ask(f"{AT}/messages", "POST"))[:2] == (409, "session-suspended")
    assert cluster.merged == []


async def test_all_who_ask_before_a_read_share_it_and_who_asks_later_gets_a_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fresh, "_PAUSE_SECONDS", 0.2)
    kube: Any = Told(body=body("Suspended"))
    reads = Fresh(kube)
    await asyncio.gather(*(reads.session(KEY) for _ in range(5)))
    assert kube.reads == 1
    begun = asyncio.get_running_loop().time()
    kube.body = body("Asleep")
    later = await asyncio.gather(*(reads.session(KEY) for _ in range(5)))
    assert {found.reason for found in later if found is not None} == {"Asleep"}
    assert kube.reads == 2
    assert asyncio.get_running_loop().time() - begun > 0.1, "not at once after the one before"
    assert await reads.session(("team", "other")) == session_view(kube.body), "others wait for none of that"


async def test_a_crowd_waits_for_no_read_and_keeps_no_other_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh, "_MOST_WAITING", 2)
    kube: Any = Told(body=body("Asleep"))
    reads = Fresh(kube)
    found = await asyncio.gather(*(reads.session((team, "one")) for team in ("a", "b", "c")))
    assert [one is not None for one in found] == [True, True, False]
    assert await reads.session(("c", "one")) is not None, "there is room again"


async def test_one_that_was_made_anew_under_its_name_is_the_one_that_is_meant() -> None:
    stage = told(asleep("Suspended"), cluster := Told(body=body("Asleep", uid="other")))
    assert (await stage.ask(f"{AT}/messages", "POST"))[:2] == (503, "session-not-ready")
    assert len(cluster.merged) == 1


async def test_a_request_that_waits_is_not_refused_for_what_is_over_by_now() -> None:
    stage = Stage(cluster=Told(body=body("Waking")), config=DirectoryConfig(hold_seconds=30))
    stage.world.session(KEY, asleep("Asleep"))
    waiting = asyncio.create_task(stage.ask(f"{AT}/messages", "POST"))
    await asyncio.sleep(0.05)
    stage.world.session(KEY, asleep("Suspended"))
    await asyncio.sleep(0.05)
    stage.world.session(KEY, session(pattern="Hybrid"))
    assert (await waiting)[:2] == (200, "allowed")


async def test_a_client_that_leaves_takes_the_read_from_nobody() -> None:
    kube: Any = Told(body=body("Asleep"))
    reads = Fresh(kube)
    leaves, stays = (asyncio.create_task(reads.session(KEY)) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    assert await stays == session_view(body("Asleep"))
    assert kube.reads == 1
