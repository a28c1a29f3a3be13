"""No pod that may have the last copy of something is let go of, nor may it be drained; nothing else is held for it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsessions.api.base import Json
from agentsessions.api.host import HostSession
from agentsessions.api.names import ANNOTATION_DO_NOT_DISRUPT, ANNOTATION_SAFE_TO_EVICT, HELD_BUDGET, LABEL_DISRUPTION
from agentsessions.api.status import AgentSessionStatus, Condition, Host
from agentsessions.builders.disruption import budget_of
from agentsessions.kube.paths import BUDGETS, PODS, SESSIONS, TEMPLATES
from agentsessions.policies.facts import PodFacts
from agentsessions.reconcile.longrunning.lastcopy import may_have_the_last_copy, may_have_the_session
from agentsessions.reconcile.longrunning.model import Around
from unit import kubelet
from unit.hosts.fakehost import make_host_session
from unit.hybrid import NAME, STORE, UID, Stage, awake, make_nap, not_ready, own_pod, serving, start
from unit.make import NAMESPACE, NOW, make_settings, stamp

ARCHIVE = {"archive": {"s3": {"bucket": "files"}, "secretRef": {"name": "keys"}}}
LATER = NOW + timedelta(minutes=5)


def pod(**facts: object) -> PodFacts:
    """Return a pod of NOW in which the container runs."""
    known: dict[str, object] = {"phase": "Running", "created": NOW, "running": True} | facts
    return PodFacts(name="p", uid="u", resource_version="1", attempt=1, **known)  # type: ignore[arg-type]


def row(kind: str, value: str, reason: str = "X", since: datetime = NOW) -> Condition:
    """Return a condition."""
    return Condition.model_validate(
        {"type": kind, "status": value, "reason": reason, "message": "m", "lastTransitionTime": since}
    )


def around(
    *conditions: Condition, begun: bool = True, ran: bool = False, workspace: Json | None = None, **known: object
) -> Around:
    """Return what is known around a session with those conditions; `ran`: status says that it did so in the pod."""
    session = make_nap(**({"workspace": workspace} if workspace else {})).build()
    host = Host(pod="p", pod_uid="u", node="n1" if ran else None)
    status = AgentSessionStatus(conditions=list(conditions), start_time=NOW if begun else None, host=host)
    return Around(session.model_copy(update={"status": status}), **known)  # type: ignore[arg-type]


def told(**news: object) -> HostSession:
    """Return what a host tells of the session."""
    return make_host_session(UID, NAME, NAMESPACE, **news)


STORED = row("TranscriptDurable", "True")
BEHIND = row("TranscriptDurable", "False")
RAN = row("Active", "False", since=LATER)
RESTED = row("Active", "False", since=NOW)
MISSING = row("Stalled", "True", "TranscriptMissing")
ENDED = pod(running=False, restarted=True)


@pytest.mark.parametrize(
    ("about", "pod", "expected"),
    [
        pytest.param(around(RAN, BEHIND), pod(phase="Pending", running=False), False, id="it-never-started"),
        pytest.param(around(RAN, BEHIND), pod(phase="Failed", running=False), False, id="nobody-reads-its-disk-again"),
        pytest.param(around(RESTED, BEHIND, news=told(durable=False), heard=True), pod(), True, id="its-host-has-it"),
        pytest.param(around(RAN, BEHIND, heard=True), pod(), False, id="its-host-knows-nothing"),
        pytest.param(around(RAN, BEHIND, heard=True), pod(restarted=True), True, id="nor-does-a-host-that-crashed"),
        pytest.param(around(RAN, BEHIND), pod(), True, id="nobody-has-spoken"),
        pytest.param(around(RESTED, BEHIND), ENDED, False, id="the-session-slept-when-it-was-made"),
        pytest.param(around(RESTED, BEHIND, ran=True), ENDED, True, id="it-ran-there-whatever-the-clocks-say"),
        pytest.param(around(BEHIND, begun=False), ENDED, False, id="the-session-never-ran"),
        pytest.param(around(BEHIND), ENDED, True, id="status-does-not-say"),
        pytest.param(around(RESTED, STORED, MISSING), ENDED, True, id="the-store-has-less-than-status-says"),
        pytest.param(around(RAN, STORED), ENDED, False, id="all-is-stored"),
        pytest.param(around(RAN, STORED, news=told(durable=False), heard=True), pod(), True, id="news-before-status"),
        pytest.param(around(RAN, BEHIND, news=told(durable=True), heard=True), pod(), False, id="news-that-all-is"),
        pytest.param(around(RAN, STORED, workspace=ARCHIVE), ENDED, True, id="files-for-an-archive"),
        pytest.param(around(RESTED, STORED, workspace=ARCHIVE), ENDED, False, id="no-files-of-the-session"),
    ],
)
def test_the_cases(about: Around, pod: PodFacts, expected: bool) -> None:
    assert may_have_the_last_copy(about, pod, make_settings(about.session)) is expected


@given(
    news=st.none() | st.sampled_from([told(durable=True), told(durable=False), told()]),
    heard=st.booleans(),
    begun=st.booleans(),
    restarted=st.booleans(),
    rows=st.sets(st.sampled_from(["durable", "behind", "active", "rested", "missing"])),
    ran=st.booleans(),
)
def test_less_knowledge_never_makes_a_pod_less_precious(
    news: HostSession | None, heard: bool, begun: bool, restarted: bool, rows: set[str], ran: bool
) -> None:
    """Who has not been heard, and a condition that is not there, may only make it more so."""
    known = {"durable": STORED, "behind": BEHIND, "active": RAN, "rested": RESTED, "missing": MISSING}
    one = pod(restarted=restarted)

    def precious(rows: set[str], *, heard: bool) -> bool:
        told = {"news": news if heard else None, "heard": heard}
        about = around(*(known[name] for name in sorted(rows)), begun=begun, ran=ran, **told)
        return may_have_the_last_copy(about, one, make_settings(about.session))

    if not precious(rows, heard=False):
        assert news is not None or not precious(rows, heard=heard)
    for name in rows - {"behind", "active", "missing"}:
        assert precious(rows - {name}, heard=heard) >= precious(rows, heard=heard)
    assert may_have_the_session(around(begun=begun, news=told(), heard=True), one)


@dataclass
class Life:
    """A session in its first pod, whose host does as hosts do; `unsaved`: what its disk has and the store has not."""

    on: Stage = field(default_factory=lambda: awake(make_nap(backoffLimit=1)))
    unsaved: bool = False
    ends: int = 0
    up: bool = True

    def do(self, what: str) -> None:
        """Let one thing happen, and the operator look until there is nothing to do."""
        self.on.idle(1)
        getattr(self, what)()
        self.on.hear() if self.up else self.on.hosts.views.clear()
        if self.up and self.on.hosts.asked and not self.unsaved:
            self.on.stores()
        self.on.settle()

    def say(self) -> None:
        """A turn goes to the disk alone."""
        if self._has_it():
            self.unsaved = True
            self.on.tell(durable=False, store_problem="StoreUnreachable")

    def store(self) -> None:
        """The store has it all."""
        if self._has_it():
            self.unsaved = False
            self.on.tell(durable=True, store_problem=None)

    def crash(self) -> None:
        """The container ends."""
        if self._pods():
            self.up = False
            status = kubelet.crash_loop(self.ends, 1, "Error", self.on.world.now)
            self._report(status | {"podIP": "10.0.0.9", "conditions": [{"type": "Ready", "status": "False"}]})
            self.ends += 1

    def deaf(self) -> None:
        """The host is not ready, and not heard."""
        if self.up and self._pods():
            self.up = False
            self._report(not_ready() | self._containers())

    def recover(self) -> None:
        """The host runs again, with its disk."""
        if not self.up and self._pods():
            self.up = True
            self._report(serving() | self._containers())

    def change(self) -> None:
        """The settings of pods change."""
        self.on.world.edit(SESSIONS, NAME, image=f"x:{self.on.world.now.timestamp()}")

    def suspend(self) -> None:
        """A user suspends the session."""
        self.on.world.edit(SESSIONS, NAME, suspended=True)

    def resume(self) -> None:
        """A user lets it go on."""
        self.on.world.edit(SESSIONS, NAME, suspended=False)

    def wait(self) -> None:
        """Much time goes by."""
        self.on.idle(1000)

    def anew(self) -> None:
        """The operator is started anew."""
        self.on.restart()

    def _pods(self) -> list[str]:
        return [name for name in self.on.pods() if name == own_pod(1)]

    def _has_it(self) -> bool:
        return self.up and bool(self._pods()) and any(UID in held for held in self.on.hosts.held.values())

    def _containers(self) -> Json:
        if not self.ends:
            return {}
        return {"containerStatuses": kubelet.restarted(self.ends, 1, "Error", self.on.world.now)["containerStatuses"]}

    def _report(self, status: Json) -> None:
        body = next(one for one in self.on.world.pods() if one["metadata"]["name"] == own_pod(1))
        self.on.world.set_pod(body, status)


THINGS = ["say", "store", "crash", "crash", "deaf", "recover", "change", "suspend", "resume", "wait", "anew"]


def mark(on: Stage) -> str:
    """Return the mark of the session's pod."""
    (one,) = on.world.pods()
    return str(one["metadata"]["labels"][LABEL_DISRUPTION])


@pytest.mark.requirement("H30", "K02")
@settings(max_examples=200)
@given(things=st.lists(st.sampled_from(THINGS), max_size=10), ahead=st.sampled_from([0, -60, 25, 300]))
def test_whatever_happens_what_is_on_the_disk_alone_stays_there_and_is_not_drained(
    things: list[str], ahead: int
) -> None:
    """The API server's clock may be `ahead` of the operator's, in seconds."""
    life = Life()
    (one,) = life.on.world.pods()
    one["metadata"]["creationTimestamp"] = stamp(life.on.world.now + timedelta(seconds=ahead))
    for thing in ["say", *things]:
        life.do(thing)
        if life.unsaved:
            assert life.on.pods() == [own_pod(1)], thing
            assert life.on.deletions() == 0
            assert mark(life.on) == "Held"
        elif life.on.pods() == [own_pod(1)]:
            assert mark(life.on) == "AtTurnBoundary"


@pytest.mark.requirement("K02")
@pytest.mark.parametrize("kind", ["Safe", "AtTurnBoundary", "Never"])
def test_a_pod_is_held_while_the_store_lacks_something_and_let_go_of_after(kind: str) -> None:
    on = awake(make_nap(disruption=kind))
    on.tell(durable=False, store_problem="StoreUnreachable")
    on.settle()
    (one,) = on.world.pods()
    annotations = one["metadata"]["annotations"]
    assert mark(on) == "Held"
    assert (annotations[ANNOTATION_SAFE_TO_EVICT], annotations[ANNOTATION_DO_NOT_DISRUPT]) == ("false", "true")
    made = [(r.verb, r.plural) for r in on.world.requests if r.plural in (BUDGETS.plural, PODS.plural)]
    assert made.index(("PATCH", PODS.plural)) > len(made) - 1 - made[::-1].index(("POST", BUDGETS.plural))
    assert HELD_BUDGET in [budget["metadata"]["name"] for budget in on.world.of(BUDGETS)]
    assert on.settle() == 0
    on.tell(durable=True, store_problem=None)
    on.settle()
    assert mark(on) == kind
    (one,) = on.world.pods()
    assert one["metadata"]["annotations"][ANNOTATION_SAFE_TO_EVICT] == ("false" if kind == "Never" else "true")
    assert sum((r.verb, r.plural) == ("PATCH", PODS.plural) for r in on.world.requests) == 2


@pytest.mark.parametrize("kind", ["Safe", "Never"])
@pytest.mark.parametrize("stop", ["template-deleted", "store-taken-out"])
def test_a_session_that_cannot_go_on_is_held_and_let_go_of_all_the_same(stop: str, kind: str) -> None:
    maker = make_nap(templateRef={"name": "t"})
    del maker.body["spec"]["sessionStore"]
    on = start(maker)
    on.world.put_template("t", sessionStore=STORE, disruption=kind)
    on.settle()
    on.wake()
    if stop == "template-deleted":
        on.world.remove(TEMPLATES, NAMESPACE, "t")
    else:
        on.world.edit(TEMPLATES, "t", sessionStore=None)
    on.settle()
    before = on.says()
    assert before[0] == "False"
    on.tell(durable=False, store_problem="StoreUnreachable")
    on.settle()
    assert (mark(on), on.says("TranscriptDurable"), on.says()) == ("Held", ("False", "StoreUnreachable"), before)
    assert on.events().count("StoreUnreachable") == 1
    on.tell(durable=True, store_problem=None)
    on.settle()
    assert (mark(on), on.says("TranscriptDurable"), on.says()) == (kind, ("True", "TranscriptStored"), before)
    assert (on.pods(), on.settle()) == ([own_pod(1)], 0)


def test_the_budget_of_held_pods_holds_those_that_are_not_ready_too() -> None:
    made = budget_of(NAMESPACE, "Held")
    assert made is not None
    assert made["spec"]["selector"]["matchLabels"][LABEL_DISRUPTION] == "Held"
    assert made["spec"]["unhealthyPodEvictionPolicy"] == "IfHealthyBudget"


def test_a_pod_that_is_kept_with_old_settings_says_so_and_how_to_go_on() -> None:
    life = Life(on=awake(make_nap(workspace=ARCHIVE)))
    life.do("crash")
    life.do("change")
    assert life.on.pods() == [own_pod(1)]
    assert life.on.says("Reconciling") == ("True", "BackOff")
    assert "Delete the pod" in life.on.message()


def test_one_of_which_all_is_stored_is_made_anew() -> None:
    life = Life(on=awake())
    life.do("crash")
    life.do("change")
    assert life.on.pods() == []
