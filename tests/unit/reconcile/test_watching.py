"""What the watches tell, what is made of it, and whether they still tell the truth."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from agentsessions import metrics
from agentsessions.api.base import Json
from agentsessions.api.conditions import State, conditions_for
from agentsessions.api.names import network_policy_name
from agentsessions.kube.errors import Conflict
from agentsessions.kube.paths import NETWORK_POLICIES, PODS, SESSIONS
from agentsessions.reconcile.audit import STALE_SECONDS, Auditor, WatchLog
from agentsessions.reconcile.catalog import Catalog
from agentsessions.reconcile.observe import DeletedPods
from agentsessions.reconcile.sweep import QUIET, sweep
from unit import kubelet
from unit.make import NAMESPACE, NOW, make_pod, make_session
from unit.operator_at_work import finish, start_world
from unit.world import Request, World


def finished(name: str = "hello") -> Json:
    """Return a session that finished."""
    return make_session(name).with_status(completion_time=NOW).json()


# The catalog


def test_the_catalog_knows_whom_a_template_concerns() -> None:
    catalog = Catalog()
    catalog.put(("n", "silent"), make_session("silent").json())
    catalog.put(("n", "named"), make_session("named").with_template("reviewer").json())
    catalog.put(("n", "over"), finished("over"))
    catalog.put(("m", "elsewhere"), make_session("elsewhere").json())
    assert catalog.unfinished("n", "default") == [("n", "silent")]
    assert catalog.unfinished("n", "reviewer") == [("n", "named")]
    assert sorted(catalog.unfinished("n")) == [("n", "named"), ("n", "silent")]
    assert catalog.unfinished("o") == []


def counted(reason: str) -> float:
    """Return how many sessions are counted under a reason."""
    return metrics.sessions.labels("catalog-test", reason)._value.get()


def body_with(reason: str) -> Json:
    """Return a session with a reason."""
    row = conditions_for(State.FAILED, reason, "", previous=[], generation=1, now=NOW)
    return make_session().with_status(conditions=row).json()


def test_the_catalog_counts_each_session_once_under_its_present_reason() -> None:
    catalog, key = Catalog(), ("catalog-test", "x")
    catalog.put(key, make_session().json())
    assert counted("Unknown") == 1
    catalog.put(key, body_with("OOMKilled"))
    catalog.put(key, body_with("OOMKilled"))
    assert (counted("Unknown"), counted("OOMKilled")) == (0, 1)
    catalog.drop(key)
    catalog.drop(key)
    assert counted("OOMKilled") == 0


def test_reasons_that_images_invent_are_counted_as_one() -> None:
    """Else the number of time series would be in the hands of whoever writes an image."""
    catalog = Catalog()
    before = counted("Other")
    for number in range(5):
        catalog.put(("catalog-test", f"s{number}"), body_with(f"Invented{number}"))
    assert counted("Other") - before == 5
    for number in range(5):
        catalog.drop(("catalog-test", f"s{number}"))
    assert counted("Other") == before


# Deleted pods


def test_only_pods_that_ended_are_worth_remembering() -> None:
    deleted = DeletedPods()
    deleted.remember(make_pod(attempt=0).with_status(kubelet.running()).json())
    deleted.remember(make_pod(attempt=1).with_status(kubelet.ended(3)).json())
    assert deleted.recall("pod-0") is None
    found = deleted.recall("pod-1")
    assert found is not None
    assert found.ended is not None
    assert found.ended.exit_code == 3


def test_memory_is_bounded() -> None:
    deleted = DeletedPods()
    pod = make_pod().with_status(kubelet.ended(0))
    for number in range(2500):
        deleted.remember(pod.with_meta(uid=f"u{number}").json())
    assert deleted.recall("u0") is None
    assert deleted.recall("u2499") is not None
    assert len(deleted._pods) <= 2000


# The audit


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
    assert len(world.requests) == 2 * max(1, len(namespaces))
    assert metrics.watch_lag.labels("pods")._value.get() == pods


def test_the_auditor_believes_both_watches_only(monkeypatch: pytest.MonkeyPatch) -> None:
    world, auditor = audited([])
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    for pod in world.of(PODS):
        auditor.pods.delivered(pod)
    finish(auditor.audit())
    now += STALE_SECONDS + 1
    finish(auditor.audit())
    assert auditor.is_stale()
    for session in world.of(SESSIONS):
        auditor.sessions.delivered(session)
    assert not auditor.is_stale()


# The sweep


def policies(world: World) -> list[str]:
    """Return the names of the policies there are."""
    return [body["metadata"]["name"] for body in world.of(NETWORK_POLICIES)]


def after_the_end() -> World:
    """Return a world whose only session is over, some time after."""
    world, operator = start_world()
    operator.settle()
    (pod,) = world.pods()
    world.set_pod(pod, kubelet.ended(0))
    operator.settle()
    world.now += QUIET + timedelta(seconds=1)
    return world


def test_a_policy_that_nobody_needs_any_more_is_removed() -> None:
    world = after_the_end()
    finish(sweep(world, [], world.now))  # type: ignore[arg-type]
    assert policies(world) == []


@pytest.mark.parametrize("namespaces", [["elsewhere"], ["elsewhere", "there"]])
def test_only_the_watched_namespaces_are_swept(namespaces: list[str]) -> None:
    world = after_the_end()
    finish(sweep(world, namespaces, world.now))  # type: ignore[arg-type]
    assert len(policies(world)) == 1


def test_a_young_policy_is_left_to_the_session_that_is_starting() -> None:
    world = after_the_end()
    world.now -= timedelta(seconds=1)
    finish(sweep(world, [], world.now))  # type: ignore[arg-type]
    assert len(policies(world)) == 1


def test_a_policy_stays_while_a_pod_is_under_it() -> None:
    world, operator = start_world(make_session().with_spec(pod_retention_policy="Retain"))
    operator.settle()
    (pod,) = world.pods()
    world.set_pod(pod, kubelet.ended(0))
    operator.settle()
    world.now += QUIET * 2
    finish(sweep(world, [], world.now))  # type: ignore[arg-type]
    assert len(policies(world)) == 1


def test_policies_of_others_are_not_ours_to_remove() -> None:
    world = after_the_end()
    name = network_policy_name("mine")
    world.add(NETWORK_POLICIES, {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {}})
    world.now += QUIET * 2
    finish(sweep(world, [], world.now))  # type: ignore[arg-type]
    assert policies(world) == [name]


def test_a_policy_that_was_made_anew_meanwhile_is_not_removed() -> None:
    world = after_the_end()

    def remake(moment: str, request: Request) -> None:
        if moment == "before" and request.verb == "DELETE":
            (old,) = world.of(NETWORK_POLICIES)
            world.remove(NETWORK_POLICIES, NAMESPACE, old["metadata"]["name"])
            del old["metadata"]["uid"]
            world.add(NETWORK_POLICIES, old)

    world.around = remake
    finish(sweep(world, [], world.now))  # type: ignore[arg-type]
    assert len(policies(world)) == 1


def test_the_world_of_these_tests_keeps_preconditions() -> None:
    world = after_the_end()
    with pytest.raises(Conflict):
        finish(world.delete(NETWORK_POLICIES, NAMESPACE, policies(world)[0], uid="other"))
