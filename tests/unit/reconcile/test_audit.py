"""Whether the watches still tell the truth."""

import time
from dataclasses import dataclass, field

import pytest

from agentsessions import metrics
from agentsessions.api.base import Json
from agentsessions.kube.paths import NETWORK_POLICIES, PODS, SESSIONS
from agentsessions.reconcile.audit import STALE_SECONDS, Auditor, WatchLog
from unit.make import NAMESPACE
from unit.operator_at_work import finish, start_world
from unit.world import World


def body(uid: str, version: int) -> Json:
    """Return an object as a watch delivers it."""
    return {
        "metadata": {"uid": uid, "resourceVersion": str(version), "namespace": "n", "name": uid},
        "spec": {"big": 1},
    }


@dataclass
class Watched:
    """A log, and what it said was missed."""

    missed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log = WatchLog(PODS, lambda body: self.missed.append(body["metadata"]["uid"]))

    def compare(self, listed: dict[str, int], now: float) -> None:
        """Compare with a list that was asked for when everything delivered so far was known."""
        self.log.compare(dict(self.log.delivered_last), listed, now)


def test_a_watch_that_delivered_everything_is_not_stale() -> None:
    watched = Watched()
    watched.log.delivered(body("a", 7))
    watched.compare({"a": 7}, 0)
    watched.compare({"a": 7}, 10**6)
    assert not watched.log.is_stale()


@pytest.mark.parametrize(
    ("listed", "behind"),
    [
        pytest.param({"a": 7, "b": 3}, {"b"}, id="never-delivered"),
        pytest.param({"a": 8}, {"a"}, id="newer-version"),
        pytest.param({"a": 6}, set(), id="the-watch-is-ahead"),
        pytest.param({}, set(), id="deleted-meanwhile"),
    ],
)
def test_what_is_behind(listed: dict[str, int], behind: set[str]) -> None:
    watched = Watched()
    watched.log.delivered(body("a", 7))
    watched.compare(listed, 0)
    assert set(watched.log.behind) == behind


def test_an_object_that_stays_behind_makes_the_watch_stale_after_a_while() -> None:
    watched = Watched()
    watched.compare({"a": 7}, 100)
    watched.compare({"a": 9}, 100 + STALE_SECONDS)
    assert not watched.log.is_stale()
    watched.compare({"a": 9}, 101 + STALE_SECONDS)
    assert watched.log.is_stale()


def test_an_api_server_that_is_silent_proves_nothing_against_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every operator would be killed by its probe in every outage of the API server."""
    watched = Watched()
    watched.compare({"a": 7}, 0)
    monkeypatch.setattr("time.monotonic", lambda: 10.0**6)
    assert not watched.log.is_stale()


def test_a_late_delivery_ends_it() -> None:
    watched = Watched()
    watched.compare({"a": 7}, 0)
    watched.log.delivered(body("a", 7))
    watched.compare({"a": 7}, 10**6)
    assert not watched.log.is_stale()


def test_a_deletion_ends_it_too() -> None:
    watched = Watched()
    watched.log.delivered(body("a", 5))
    watched.compare({"a": 7}, 0)
    watched.log.gone("a")
    watched.log.gone("never-known")
    watched.compare({}, 10**6)
    assert not watched.log.is_stale()
    assert watched.missed == []


def test_an_object_that_catches_up_is_not_held_against_the_next() -> None:
    watched = Watched()
    watched.compare({"a": 1}, 0)
    watched.compare({}, 30)
    watched.compare({"a": 1}, 60)
    watched.compare({"a": 1}, 60 + STALE_SECONDS)
    assert not watched.log.is_stale()


def test_a_deletion_that_the_watch_missed_is_told_once() -> None:
    watched = Watched()
    watched.log.delivered(body("a", 5))
    watched.log.delivered(body("b", 6))
    watched.compare({"b": 6}, 0)
    watched.compare({"b": 6}, 30)
    assert watched.missed == ["a"]


def test_what_was_made_while_the_list_was_under_way_is_not_missed() -> None:
    watched = Watched()
    known = dict(watched.log.delivered_last)
    watched.log.delivered(body("new", 9))
    watched.log.compare(known, {}, 0)
    assert watched.missed == []


def test_the_log_keeps_no_content() -> None:
    log = Watched().log
    log.delivered(body("a", 5))
    assert "spec" not in log.delivered_last["a"]


def audited(namespaces: list[str]) -> tuple[World, Auditor]:
    """Return a world with a session, its pod and a pod of another's, and an auditor."""
    world, operator = start_world()
    operator.settle()
    world.add(PODS, {"metadata": {"name": "stranger", "namespace": NAMESPACE}, "spec": {}})
    world.requests.clear()
    return world, Auditor(world, namespaces)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("namespaces", "pods"),
    [pytest.param([], 1, id="everywhere"), pytest.param([NAMESPACE, "b"], 1, id="two"), pytest.param(["b"], 0, id="b")],
)
def test_the_audit_lists_what_is_watched_and_no_more(namespaces: list[str], pods: int) -> None:
    world, auditor = audited(namespaces)
    finish(auditor.audit())
    assert len(auditor.pods.behind) == pods
    assert len(world.requests) == 7 * max(1, len(namespaces))
    assert metrics.watch_lag.labels("pods")._value.get() == pods


def synced(kind: str) -> float | None:
    """Return what is said of a watch's first listing."""
    return metrics.REGISTRY.get_sample_value("agentsessions_watch_synced", {"resource": kind})


def test_a_watch_is_synced_with_the_last_object_of_its_first_listing() -> None:
    log = WatchLog(PODS, lambda _: None)
    log.compare({}, {"a": 7, "b": 8}, 0)
    assert (log.synced, synced("pods")) == (False, 0)
    log.event(None, body("a", 7))
    log.event(None, body("stranger", 9))
    assert not log.synced
    log.event("DELETED", body("b", 8))
    assert (log.synced, synced("pods")) == (True, 1)
    log.compare(dict(log.delivered_last), {"new": 10}, 30)
    assert (log.synced, synced("pods")) == (True, 1), "to be behind later is another matter"


def test_a_watch_of_nothing_is_synced_once_that_is_known() -> None:
    log = WatchLog(PODS, lambda _: None)
    assert not log.synced
    log.compare({}, {}, 0)
    assert log.synced


def test_the_last_delivery_is_told() -> None:
    before = time.time()
    WatchLog(PODS, lambda _: None).event("MODIFIED", body("a", 7))
    name = "agentsessions_watch_last_delivery_timestamp_seconds"
    assert (metrics.REGISTRY.get_sample_value(name, {"resource": "pods"}) or 0) >= before


def test_the_auditor_believes_no_watch_for_anothers_sake(monkeypatch: pytest.MonkeyPatch) -> None:
    world, auditor = audited([])
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    for pod in world.of(PODS):
        auditor.pods.delivered(pod)
    for policy in world.of(NETWORK_POLICIES):
        auditor.policies.delivered(policy)
    finish(auditor.audit())
    now += STALE_SECONDS + 1
    finish(auditor.audit())
    assert auditor.is_stale()
    for session in world.of(SESSIONS):
        auditor.sessions.delivered(session)
    assert not auditor.is_stale()
