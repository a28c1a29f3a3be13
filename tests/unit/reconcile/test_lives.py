"""Whole lives of sessions, from creation to the end, and the same lives with the operator killed at every write."""

from collections.abc import Callable

import pytest

from agentsessions.kube.paths import CLAIMS, EVENTS, NETWORK_POLICIES, PODS, SECRETS, SESSIONS
from unit import kubelet
from unit.make import NOW, SessionMaker, later, make_report, make_session
from unit.operator_at_work import Nodes, Operator, Script, crash_at, essence, live, start_world
from unit.world import World, attempt_of

DONE = make_report(usage={"turns": 2, "costUsd": "0.01"}, result={"text": "4 files"})
FELL = make_report("Failed", "ModelUnavailable", retryable=True, usage={"turns": 1, "costUsd": "0.02"})
REFUSED = make_report("Failed", "ModelAuthenticationFailed", message="The key was refused.")

GOOD = [kubelet.creating(), kubelet.running(), kubelet.ended(0, message=DONE)]
BAD = [kubelet.creating(), kubelet.running(), kubelet.ended(1, message=FELL)]

LIVES: dict[str, tuple[SessionMaker, Script]] = {
    "success": (make_session(), {0: GOOD}),
    "success-without-being-seen-running": (make_session(), {0: [kubelet.ended(0, message=DONE)]}),
    "another-image": (make_session(), {0: [kubelet.running(), kubelet.ended(0, message="4 files")]}),
    "on-a-volume": (make_session().with_storage("1Gi"), {0: BAD, 1: GOOD}),
    "third-time-lucky": (make_session(), {0: BAD, 1: BAD, 2: GOOD}),
    "out-of-attempts": (make_session().with_spec(backoff_limit=1), {0: BAD, 1: BAD}),
    "never-again": (make_session().with_spec(restart_policy="Never"), {0: BAD}),
    "refused-for-good": (make_session(), {0: [kubelet.running(), kubelet.ended(64, message=REFUSED)]}),
    "evicted-then-done": (make_session(), {0: [kubelet.running(), kubelet.evicted()], 1: GOOD}),
    "drained-twice": (make_session(), {0: [kubelet.drained()], 1: [kubelet.drained()], 2: GOOD}),
    "out-of-memory": (make_session(), {0: [kubelet.running(), kubelet.ended(137, reason="OOMKilled")], 1: GOOD}),
    "deadline": (make_session(), {0: [kubelet.running(), kubelet.deadline_exceeded()]}),
    "image-mended": (
        make_session(),
        {0: [kubelet.creating("ErrImagePull"), kubelet.creating("ImagePullBackOff"), *GOOD]},
    ),
    "vanished-while-running": (make_session(), {0: [kubelet.running(), "vanish"], 1: GOOD}),
    "pod-kept": (make_session().with_spec(pod_retention_policy="Retain"), {0: GOOD}),
    "short-lived": (make_session().with_spec(ttl_seconds_after_finished=60), {0: GOOD}),
}


def lead(maker: SessionMaker, script: Script, prepare: Callable[[World], None] = lambda world: None) -> World:
    """Lead one life to its end."""
    world, operator = start_world(maker)
    prepare(world)
    live(world, operator, Nodes(world, script))
    return world


@pytest.mark.parametrize("life", LIVES)
def test_after_the_end_the_operator_rests(life: str) -> None:
    world = lead(*LIVES[life])
    before = len(world.writes())
    Operator(world).look()
    Operator(world).look()
    assert len(world.writes()) == before


@pytest.mark.parametrize("life", LIVES)
def test_a_second_look_with_nothing_new_does_nothing(life: str) -> None:
    maker, script = LIVES[life]
    world, operator = start_world(maker)
    nodes = Nodes(world, script)
    operator.settle()
    while nodes.move():
        operator.hear()
        operator.settle()
        before = world.writes(), world.objects[SESSIONS, "team-a", "hello"]["metadata"]["resourceVersion"]
        Operator(world, deleted=operator.deleted).look()
        assert (world.writes(), world.objects[SESSIONS, "team-a", "hello"]["metadata"]["resourceVersion"]) == before


CRASHES = [pytest.param(life, when, id=f"{life}-{when}") for life in LIVES for when in ("before", "after")]


@pytest.mark.requirement("K01")
@pytest.mark.parametrize(("life", "when"), CRASHES)
def test_killed_at_any_write_the_session_ends_the_same(life: str, when: str) -> None:
    calm = lead(*LIVES[life])
    for number in range(len(calm.writes())):
        hook = crash_at(number, when)
        torn = lead(*LIVES[life], prepare=lambda world, hook=hook: setattr(world, "around", hook))  # type: ignore[misc]
        assert_same_end(calm, torn)
        assert_one_pod_per_attempt(torn)


def assert_same_end(calm: World, torn: World) -> None:
    """Compare what is left of two worlds."""
    assert len(torn.of(SESSIONS)) == len(calm.of(SESSIONS))
    if calm.of(SESSIONS):
        assert essence(torn.session().status) == essence(calm.session().status)
    for kind in (PODS, SECRETS, CLAIMS, NETWORK_POLICIES):
        assert names_of(torn, kind) == names_of(calm, kind)


def names_of(world: World, kind: object) -> list[str]:
    """Return the names of all objects of a kind."""
    return sorted(body["metadata"]["name"] for body in world.of(kind))  # type: ignore[arg-type]


def assert_one_pod_per_attempt(world: World) -> None:
    """Count the pods that were ever made, by name."""
    made = [request.name for request in world.requests if (request.verb, request.plural) == ("POST", "pods")]
    refused = len(made) - len(set(made))
    assert refused <= 1, "a pod's name may be asked for again only by the pass after the crash"


@pytest.mark.requirement("K01")
def test_from_creation_to_the_end_are_at_most_five_writes() -> None:
    """The NetworkPolicy is shared and not counted: the sessions before this one made it."""
    world = lead(make_session(), {0: GOOD})
    wrote = [(r.verb, r.plural) for r in world.writes() if r.plural != "networkpolicies"]
    assert wrote == [
        ("POST", "secrets"),
        ("POST", "pods"),
        ("PATCH", "agentsessions"),
        ("PATCH", "agentsessions"),
        ("PATCH", "agentsessions"),
        ("DELETE", "pods"),
    ]
    assert len(wrote[: wrote.index(("DELETE", "pods"))]) <= 5


def test_the_end_of_a_good_session() -> None:
    status = lead(make_session(), {0: BAD, 1: GOOD}).session().status
    assert status.result is not None
    assert status.result.text == "4 files"
    assert status.usage is not None
    assert (status.usage.turns, status.usage.cost_usd) == (3, "0.03")
    assert (status.restarts, status.failures) == (1, 1)
    assert {c.type: c.status for c in status.conditions} == {"Ready": "True", "Active": "False", "Succeeded": "True"}


@pytest.mark.parametrize(
    ("life", "reason", "restarts", "failures"),
    [
        ("out-of-attempts", "ModelUnavailable", 1, 2),
        ("never-again", "ModelUnavailable", 0, 1),
        ("refused-for-good", "ModelAuthenticationFailed", 0, 1),
        ("deadline", "DeadlineExceeded", 0, 1),
    ],
)
def test_the_end_of_a_bad_session(life: str, reason: str, restarts: int, failures: int) -> None:
    status = lead(*LIVES[life]).session().status
    ready = status.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", reason)
    assert status.is_true("Stalled")
    assert (status.restarts, status.failures) == (restarts, failures)
    assert status.completion_time is not None


@pytest.mark.parametrize(
    ("life", "restarts", "failures"),
    [("evicted-then-done", 1, 0), ("drained-twice", 2, 0), ("vanished-while-running", 1, 0), ("out-of-memory", 1, 1)],
)
def test_what_counts_as_a_failure(life: str, restarts: int, failures: int) -> None:
    status = lead(*LIVES[life]).session().status
    assert (status.is_true("Succeeded"), status.restarts, status.failures) == (True, restarts, failures)


def test_a_finished_pod_is_removed_unless_it_is_to_be_kept() -> None:
    assert lead(*LIVES["success"]).of(PODS) == []
    kept = lead(*LIVES["pod-kept"]).of(PODS)
    assert [attempt_of(pod) for pod in kept] == [0]


def test_a_session_with_a_time_to_live_goes_and_takes_everything_with_it() -> None:
    world = lead(*LIVES["short-lived"])
    assert [world.of(kind) for kind in (SESSIONS, PODS, SECRETS, CLAIMS)] == [[], [], [], []]


def test_only_trouble_is_worth_an_event() -> None:
    assert lead(*LIVES["success"]).of(EVENTS) == []
    told = [(e["type"], e["reason"], e["action"]) for e in lead(*LIVES["out-of-attempts"]).of(EVENTS)]
    assert told == [("Warning", "ModelUnavailable", "Retry"), ("Warning", "ModelUnavailable", "Fail")]


def test_sessions_of_equal_needs_share_one_policy() -> None:
    world = lead(*LIVES["third-time-lucky"])
    posts = [request for request in world.writes() if request.plural == "networkpolicies"]
    assert [request.verb for request in posts] == ["POST"]


def test_between_two_attempts_the_session_has_no_host() -> None:
    world, operator = start_world()
    operator.settle()
    (pod,) = world.pods()
    world.set_pod(pod, kubelet.ended(1))
    operator.settle()
    status = world.session().status
    ready = status.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason, status.host) == ("False", "BackOff", None)
    assert status.last_termination is not None
    assert (status.last_termination.pod, status.last_termination.exit_code) == ("hello-199a6b7b-0", 1)


def test_the_session_started_when_its_first_attempt_did() -> None:
    world, operator = start_world()
    live(world, operator, Nodes(world, {0: BAD, 1: [kubelet.ended(0, at=later(500), finished=later(505))]}))
    assert world.session().status.start_time == NOW
    assert world.session().status.completion_time == later(505)


def test_processes_that_were_killed_for_memory_are_counted_over_all_attempts() -> None:
    told = make_report("Failed", "OOMKilled", retryable=True, oom_kills=2)
    cut_short = make_report("Running", "Running")
    script: Script = {
        0: [kubelet.ended(137, reason="OOMKilled")],
        1: [kubelet.ended(1, reason="OOMKilled", message=told)],
        2: [kubelet.ended(137, reason="OOMKilled", message=cut_short)],
        3: GOOD,
    }
    assert lead(make_session(), script).session().status.oom_kills == 4
