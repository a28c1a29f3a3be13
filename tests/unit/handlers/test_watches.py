"""What the handlers make of each event: whom to look at, and what to remember."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import kopf
import pytest

from agentsessions.api.base import Json
from agentsessions.api.config import Admission
from agentsessions.api.names import (
    AGENT_SELECTOR,
    CLEANUP,
    HOST_SELECTOR,
    LABEL_COMPONENT,
    LABEL_POOL,
    LABEL_SESSION,
    POLICY_SELECTOR,
)
from agentsessions.api.status import Condition, Host
from agentsessions.handlers.poolwatches import PoolWatches, register
from agentsessions.handlers.watches import Watches, registry, settings
from agentsessions.kube.paths import PODS
from agentsessions.reconcile.audit import Auditor
from agentsessions.reconcile.catalog import Catalog
from agentsessions.reconcile.model import Need
from agentsessions.reconcile.observe import DeletedPods
from unit import kubelet
from unit.make import NOW, make_pod, make_session
from unit.operator_at_work import finish
from unit.world import World

KEY = ("team-a", "hello")


@dataclass
class Keys:
    """A queue that only remembers what it was asked for."""

    added: list[tuple[str, str]] = field(default_factory=list)
    listed: list[bool] = field(default_factory=list)

    def add(self, key: tuple[str, str], *, listed: bool = False) -> None:
        """Remember."""
        self.added.append(key)
        self.listed.append(listed)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def watches(world: World) -> Watches:
    return Watches(Keys(), Catalog(), Auditor(world, []), DeletedPods())  # type: ignore[arg-type]


def added(watches: Watches) -> list[tuple[str, str]]:
    """Return whom the queue was asked to look at, and forget it."""
    keys = watches.queue.added  # type: ignore[attr-defined]
    found = list(keys)
    keys.clear()
    return found


@pytest.mark.parametrize("kind", [None, "ADDED", "MODIFIED", "DELETED"])
def test_a_session_is_looked_at_whatever_happened_to_it(kind: str | None, watches: Watches) -> None:
    watches.on_session(kind, make_session().json())
    assert added(watches) == [KEY]


def test_a_session_is_known_until_it_is_deleted(watches: Watches) -> None:
    watches.on_session("ADDED", make_session().json())
    assert watches.catalog.unfinished("team-a") == [KEY]
    watches.on_session("DELETED", make_session().json())
    assert watches.catalog.unfinished("team-a") == []
    assert watches.auditor.sessions.delivered_last == {}


@pytest.mark.parametrize("kind", [None, "ADDED", "MODIFIED", "DELETED"])
def test_a_pods_session_is_looked_at(kind: str | None, watches: Watches) -> None:
    watches.on_pod(kind, make_pod().json())
    assert added(watches) == [KEY]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(make_pod().with_label(LABEL_SESSION, "other").json(), id="another-label"),
        pytest.param(make_pod().with_meta(labels={}).json(), id="no-labels"),
    ],
)
def test_a_pods_session_is_its_owner_whatever_the_labels_say(body: Json, watches: Watches) -> None:
    watches.on_pod("MODIFIED", body)
    assert added(watches) == [KEY]


def test_a_cleanup_pod_which_nobody_owns_says_itself_what_it_is_there_for(watches: Watches) -> None:
    labels = {LABEL_COMPONENT: CLEANUP, LABEL_SESSION: "hello"}
    watches.on_pod("MODIFIED", make_pod().with_meta(owner_references=[], labels=labels).json())
    assert added(watches) == [KEY]


@pytest.mark.parametrize(
    "owners",
    [
        pytest.param([], id="none"),
        pytest.param([{"kind": "Job", "name": "j", "uid": "u", "controller": True}], id="a-job"),
        pytest.param([{"kind": "AgentSession", "name": "hello", "uid": "u"}], id="not-the-controller"),
    ],
)
def test_a_pod_of_anothers_concerns_nobody(owners: list[Json], watches: Watches) -> None:
    watches.on_pod("MODIFIED", make_pod().with_meta(owner_references=owners).json())
    assert added(watches) == []


def test_the_last_words_of_a_pod_are_kept_until_after_its_deletion(watches: Watches) -> None:
    body = make_pod().with_status(kubelet.ended(0)).json()
    watches.on_pod("MODIFIED", body)
    assert watches.deleted.recall("pod-0") is not None, "a list may lack it before its deletion is heard of"
    watches.on_pod("DELETED", body)
    assert watches.deleted.recall("pod-0") is not None
    assert watches.auditor.pods.delivered_last == {}


def test_a_deletion_that_was_missed_is_brought_by_the_audit(watches: Watches) -> None:
    watches.on_pod("ADDED", make_pod().json())
    watches.on_session("ADDED", make_session().json())
    added(watches)
    finish(watches.auditor.audit())
    assert sorted(added(watches)) == [KEY, KEY]
    assert watches.catalog.unfinished("team-a") == []
    assert watches.deleted.recall("pod-0") is None


def test_the_audit_brings_nothing_while_all_is_well(world: World, watches: Watches) -> None:
    pod = world.add(PODS, make_pod().json())
    watches.on_pod("ADDED", pod)
    added(watches)
    finish(watches.auditor.audit())
    assert added(watches) == []
    assert not watches.auditor.is_stale()


ASKED = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
READY = Condition(type="Ready", status="True", reason="Asleep", message="It sleeps.", last_transition_time=ASKED)


RUNNING = READY.model_copy(update={"reason": "Running"})
AT_REST: dict[str, Any] = {"conditions": [READY], "observed_generation": 1}


@pytest.mark.parametrize(
    ("kind", "status", "listed"),
    [
        (None, AT_REST, True),
        (None, AT_REST | {"conditions": [RUNNING], "completion_time": ASKED}, True),
        (None, AT_REST | {"last_request_time": ASKED, "answered_request_time": ASKED}, True),
        (None, AT_REST | {"last_request_time": ASKED}, False),
        (None, AT_REST | {"observed_generation": 0}, False),
        (None, AT_REST | {"conditions": [RUNNING]}, False),
        (None, AT_REST | {"host": Host(pod="hello-0")}, False),
        (None, {}, False),
        ("ADDED", AT_REST, False),
        ("MODIFIED", AT_REST, False),
    ],
    ids=["asleep", "finished", "answered", "asked-for", "changed", "awake", "with-a-pod", "new", "added", "modified"],
)
def test_of_the_listed_sessions_those_wait_that_rest(
    kind: str | None, status: dict[str, Any], listed: bool, watches: Watches
) -> None:
    watches.on_session(kind, make_session().with_status(**status).json())
    assert watches.queue.listed == [listed]  # type: ignore[attr-defined]


def test_a_session_that_was_listed_while_it_is_deleted_does_not_wait(watches: Watches) -> None:
    body = make_session().with_status(**AT_REST).json()
    body["metadata"]["deletionTimestamp"] = "2026-05-04T12:00:00Z"
    watches.on_session(None, body)
    assert watches.queue.listed == [False]  # type: ignore[attr-defined]


def test_a_template_that_was_listed_hurries_nobody(watches: Watches) -> None:
    watches.on_session("ADDED", make_session().json())
    for listed in (True, False):
        watches.on_template({"metadata": {"namespace": "team-a", "name": "default"}}, listed=listed)
    assert watches.queue.listed == [False, True, False]  # type: ignore[attr-defined]


def test_a_template_concerns_the_unfinished_sessions_that_use_it(watches: Watches) -> None:
    for name in ("one", "two"):
        watches.on_session("ADDED", make_session(name).json())
    watches.on_session("ADDED", make_session("named").with_template("reviewer").json())
    watches.on_session("ADDED", make_session("over").with_status(completion_time=NOW).json())
    added(watches)
    watches.on_template({"metadata": {"namespace": "team-a", "name": "default"}})
    assert sorted(added(watches)) == [("team-a", "one"), ("team-a", "two")]
    watches.on_template({"metadata": {"namespace": "team-a", "name": "reviewer"}})
    assert added(watches) == [("team-a", "named")]
    watches.on_template({"metadata": {"namespace": "team-b", "name": "default"}})
    assert added(watches) == []


@pytest.mark.parametrize(
    ("kind", "concerned"),
    [(None, []), ("ADDED", []), ("MODIFIED", [KEY]), ("DELETED", [KEY])],
)
def test_a_policy_that_changed_concerns_the_sessions_of_its_namespace(
    kind: str | None, concerned: list[tuple[str, str]], watches: Watches
) -> None:
    watches.on_session("ADDED", make_session().json())
    added(watches)
    watches.on_policy(kind, {"metadata": {"namespace": "team-a", "name": "p"}})
    assert added(watches) == concerned


async def test_every_handler_is_wired_to_its_method(watches: Watches) -> None:
    handlers = {handler.fn.__name__: handler for handler in registry(watches)._watching._handlers}
    assert sorted(handlers) == ["pod", "policy", "session", "template"]
    await call(handlers["session"], make_session().json())
    await call(handlers["pod"], make_pod().json())
    await call(handlers["template"], {"metadata": {"namespace": "team-a", "name": "default", "uid": "t"}})
    await call(handlers["policy"], {"metadata": {"namespace": "team-a", "name": "p", "uid": "p"}})
    assert added(watches) == [KEY, KEY, KEY, KEY]
    logs = [watches.auditor.sessions, watches.auditor.pods, watches.auditor.templates, watches.auditor.policies]
    assert [len(log.delivered_last) for log in logs] == [1, 1, 1, 1]


async def test_what_happens_around_pools_is_audited(watches: Watches) -> None:
    found = kopf.OperatorRegistry()
    register(found, PoolWatches(Keys(), watches))  # type: ignore[arg-type]
    handlers = {handler.fn.__name__: handler for handler in found._watching._handlers}
    meta = {"namespace": "team-a", "name": "chat", "uid": "u", "labels": {LABEL_POOL: "chat"}}
    audits = watches.auditor
    logs = {"pool": audits.pools, "child": audits.stateful_sets, "host": audits.hosts}
    for name, log in logs.items():
        await call(handlers[name], {"metadata": meta})
        assert list(log.delivered_last) == ["u"]
        await handlers[name].fn(type="DELETED", body=kopf.Body({"metadata": meta}))
        assert log.delivered_last == {}


async def test_the_last_words_of_a_pools_host_are_kept_as_well(watches: Watches) -> None:
    found = kopf.OperatorRegistry()
    register(found, PoolWatches(Keys(), watches))  # type: ignore[arg-type]
    (host,) = [handler for handler in found._watching._handlers if handler.fn.__name__ == "host"]
    body = make_pod().with_status(kubelet.running()).json()
    await call(host, body)
    assert watches.deleted.recall("pod-0") is None
    await call(host, body | {"status": kubelet.ended(0)})
    assert watches.deleted.recall("pod-0") is not None


def test_deletions_that_no_watch_brought_come_by_the_audit(watches: Watches) -> None:
    queue = Keys()
    PoolWatches(queue, watches)  # type: ignore[arg-type]
    watches.on_session("ADDED", make_session().json())
    added(watches)
    meta = {"namespace": "team-a", "name": "chat", "uid": "u", "labels": {LABEL_POOL: "chat"}}
    audits = watches.auditor
    for log in (audits.pools, audits.stateful_sets, audits.hosts, audits.policies):
        log.delivered({"metadata": meta})
        log.compare(dict(log.delivered_last), {}, 0)
    assert queue.added == [("team-a", "chat")] * 3
    assert added(watches) == [KEY]
    watches.auditor.templates.delivered({"metadata": {**meta, "name": "default"}})
    watches.auditor.templates.compare(dict(watches.auditor.templates.delivered_last), {}, 0)
    assert added(watches) == [KEY]


async def call(handler: object, body: Json) -> None:
    """Call a handler as kopf does."""
    await handler.fn(type="MODIFIED", body=kopf.Body(body))  # type: ignore[attr-defined]


def test_only_watching_handlers_are_registered_since_others_write_to_the_objects(watches: Watches) -> None:
    found = registry(watches)
    assert [found._changing._handlers, found._spawning._handlers, found._indexing._handlers] == [[], [], []]


def test_kopf_posts_nothing_and_watches_only_what_is_ours() -> None:
    chosen = settings()
    assert chosen.posting.enabled is False
    assert chosen.scanning.disabled is True
    selectors = chosen.watching.label_selectors
    assert selectors["v1", "pods"] == AGENT_SELECTOR
    assert selectors["apps", "v1", "statefulsets"] == HOST_SELECTOR
    assert selectors["networking.k8s.io", "v1", "networkpolicies"] == POLICY_SELECTOR


def test_a_deleted_session_leaves_its_place_to_others(watches: Watches) -> None:
    called: list[tuple[str, str]] = []
    watches.admission.rules, watches.admission.call = Admission(waking=1), called.append
    body = make_session().json()
    watches.admission.turn(make_session().build(), Need("pod", 0), NOW)
    other = make_session("other").with_meta(uid="other").build()
    assert watches.admission.turn(other, Need("other-pod", 0), NOW) is not None
    watches.on_session("DELETED", {**body, "metadata": {**body["metadata"], "uid": "a namesake of before"}})
    assert called == []
    watches.on_session("DELETED", body)
    assert called == [other.key]
