"""Sessions that wait for their turn: who starts, what they say meanwhile, what it costs, and what ends the waiting."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsessions import metrics
from agentsessions.api.base import Json
from agentsessions.api.config import Admission as Rules
from agentsessions.api.config import Bounds
from agentsessions.kube.errors import Refused, Transient
from agentsessions.kube.paths import EVENTS, NAMESPACES, SESSIONS
from agentsessions.policies.queueing import STARTING_FOR
from unit import kubelet
from unit.crowd import Crowd, crowd, rules
from unit.kstatus import kstatus
from unit.make import NAMESPACE, NOW
from unit.operator_at_work import crash_at, finish
from unit.reconcile.test_counting import Since
from unit.world import Request, World


@pytest.mark.requirement("K02")
def test_no_more_run_than_may_and_the_others_say_what_they_wait_for() -> None:
    on = crowd(5, rules(running=2))
    assert on.alive() == ["s0", "s1"]
    assert [on.reason(name) for name in ("s0", "s1", "s2", "s3", "s4")] == ["Starting"] * 2 + ["Queued"] * 3
    assert [on.queue(name).position for name in ("s2", "s3", "s4")] == [1, 2, 3]
    assert on.queue("s4").reason == "namespace team-a runs 2 of 2"
    assert on.queue("s4").since == NOW + timedelta(seconds=4)
    status = on.session("s4").status
    assert status.is_true("Reconciling")
    assert status.condition("Ready").message.endswith("namespace team-a runs 2 of 2.")  # type: ignore[union-attr]
    assert kstatus(on.world.of(SESSIONS)[4]) == "InProgress"
    assert on.world.of(EVENTS) == []


@pytest.mark.requirement("K02")
def test_a_place_that_becomes_free_is_the_next_ones_at_once() -> None:
    on = crowd(4, rules(running=2))
    assert on.finish_one() == "s0"
    assert on.alive() == ["s1", "s2"]
    assert on.session("s2").status.queue is None
    assert on.reason("s3") == "Queued"


def test_a_pod_that_runs_makes_room_for_one_that_starts() -> None:
    on = crowd(3, rules(waking=1))
    assert on.alive() == ["s0"]
    assert on.queue("s1").reason == "namespace team-a starts 1 of 1 at once"
    on.report("s0", kubelet.running())
    assert on.alive() == ["s0", "s1"]


def test_one_bound_holds_for_all_namespaces_together() -> None:
    on = crowd(3, rules(of_all=2))
    assert on.alive() == ["s0", "s1"]
    assert on.queue("s2").reason == "all namespaces together start 2 of 2 at once"


def test_the_higher_priority_is_first_whoever_waits_longer() -> None:
    on = crowd(2, rules(running=1))
    on.add("urgent", 50, priority=10)
    on.settle()
    assert on.queue("urgent").position == 1
    assert on.queue("urgent").priority == 10
    on.finish_one()
    assert on.alive() == ["urgent"]


def test_the_priority_of_the_template_holds_where_the_session_says_none() -> None:
    on = crowd(2, rules(running=1))
    on.world.put_template("hurry", priority=7)
    on.add("urgent", 50, template_ref={"name": "hurry"})
    on.settle()
    assert on.queue("urgent").priority == 7
    on.world.edit(SESSIONS, "s1", priority=8)
    on.due.append((NAMESPACE, "s1"))
    on.settle()
    on.finish_one()
    assert on.alive() == ["s1"], "a changed mind counts at once"


def test_the_place_of_a_pod_that_takes_too_long_is_given_away_though_nobody_asks() -> None:
    on = crowd(2, rules(waking=1))
    on.settle()
    (first,) = on.alive()
    on.world.now = NOW + STARTING_FOR - timedelta(seconds=1)
    finish(on.admission.tend(on.world))  # type: ignore[arg-type]
    assert on.due == []
    on.world.now += timedelta(seconds=1)
    finish(on.admission.tend(on.world))  # type: ignore[arg-type]
    assert [name for _, name in on.due] == [name for name in ("s0", "s1") if name != first]
    on.settle()
    assert len(on.alive()) == 2


@pytest.mark.parametrize(
    ("stuck", "seconds"),
    [
        pytest.param(kubelet.creating("ErrImagePull"), 0, id="waits-for-a-person"),
        pytest.param(kubelet.unschedulable(), 140, id="waits-for-room"),
    ],
)
def test_a_pod_that_cannot_start_does_not_keep_others_from_starting_for_long(stuck: Json, seconds: int) -> None:
    on = crowd(3, rules(waking=1))
    on.report("s0", stuck)
    on.wait(seconds)
    assert on.alive() == ["s0", "s1"]
    assert on.reason("s2") == "Queued", "the next one has its time, too"


def test_a_session_that_is_deleted_leaves_the_line_and_a_deleted_one_that_ran_makes_room() -> None:
    on = crowd(4, rules(running=1))
    on.remove("s1")
    on.remove("s0")
    assert on.alive() == ["s2"]


def test_a_retry_waits_like_everybody_else_and_loses_nothing() -> None:
    on = crowd(2, rules(running=1))
    on.report("s0", kubelet.running())
    on.report("s0", kubelet.ended(1, at=on.world.now))
    assert on.alive() == ["s1"]
    on.wait(15)
    assert on.reason("s0") == "Queued"
    assert on.session("s0").status.failures == 1
    on.finish_one()
    assert on.alive() == ["s0"]
    assert on.session("s0").status.restarts == 1


def test_the_deadline_of_a_session_runs_on_while_its_retry_waits() -> None:
    on = crowd(2, rules(running=1), limits={"activeDeadlineSeconds": 100})
    on.report("s0", kubelet.running())
    on.report("s0", kubelet.ended(1, at=on.world.now))
    on.wait(90)
    assert on.reason("s0") == "Queued"
    on.wait(15)
    assert (on.reason("s0"), on.alive()) == ("DeadlineExceeded", ["s1"])


def test_a_full_quota_gives_the_place_to_others() -> None:
    on = Crowd(rules(running=1))
    on.world.refusals["POST pods"] = "exceeded quota: pods"
    on.add("first", 1)
    on.settle()
    assert on.reason("first") == "QuotaExceeded"
    on.world.refusals.clear()
    on.add("second", 2)
    on.settle()
    assert on.alive() == ["second"]
    on.wait(600)
    assert on.reason("first") == "Queued"


def test_to_wait_costs_at_most_a_write_a_minute_and_few_looks() -> None:
    on = crowd(40, rules(running=1))
    before, reads = len(on.world.writes()), len(on.world.requests)
    on.wait(3600)
    assert len(on.world.writes()) == before, "nothing has moved"
    assert (len(on.world.requests) - reads) / 39 < 60 * 8, "one look a minute, a few reads each"
    for _ in range(20):
        on.finish_one()
        on.wait(90)
    assert 2 <= on.status_writes("s39") <= 21
    assert on.queue("s39").position < 30


@pytest.mark.requirement("K02")
def test_a_place_in_line_outlasts_the_operator() -> None:
    on = crowd(5, rules(running=2))
    since = on.queue("s2").since
    on.world.now += timedelta(seconds=30)
    on.restart()
    on.settle()
    assert on.alive() == ["s0", "s1"], "all that run are known before the first pass"
    assert on.queue("s2").since == since
    assert on.status_writes("s2") == 1
    on.finish_one()
    assert on.alive() == ["s1", "s2"]


def test_a_position_is_told_on_after_the_operator_was_restarted() -> None:
    on = crowd(10, rules(running=1))
    on.restart()
    on.settle()
    on.finish_one()
    assert on.queue("s9").position == 9
    on.wait(300)
    assert on.queue("s9").position == 8


def test_bounds_that_were_lifted_let_everybody_start() -> None:
    on = crowd(5, rules(running=2))
    on.rules = rules()
    on.restart()
    on.settle()
    assert on.alive() == ["s0", "s1", "s2", "s3", "s4"]
    assert on.session("s4").status.queue is None


def test_a_session_whose_passes_fail_keeps_nobody_waiting() -> None:
    on = crowd(3, rules(running=1))

    def refuse(moment: str, request: Request) -> None:
        if moment == "after" and (request.verb, request.plural, request.name) == ("GET", SESSIONS.plural, "s1"):
            raise Transient(500, "no")

    on.world.around = refuse
    on.finish_one()
    assert on.alive() == ["s2"]
    on.world.around = lambda *_: None
    on.wait(2)
    assert on.reason("s1") == "Queued"
    on.finish_one()
    assert on.alive() == ["s1"]


@pytest.mark.parametrize(
    ("verb", "plural", "times"),
    [
        pytest.param("PATCH", "agentsessions", 1, id="status"),
        pytest.param("PATCH", "agentsessions", 3, id="status-again-and-again"),
        pytest.param("POST", "pods", 1, id="pod"),
    ],
)
def test_a_place_is_kept_for_a_session_whose_pod_or_status_could_not_be_written(
    verb: str, plural: str, times: int
) -> None:
    on = Crowd(rules(running=1))
    on.world.around = _fails(verb, plural, times)
    on.add("first", 1)
    on.settle()
    on.wait(times - 1)
    on.add("second", 2)
    on.settle()
    assert on.reason("second") == "Queued"
    on.wait(1)
    assert (on.reason("first"), on.reason("second")) == ("Starting", "Queued")
    assert on.alive() == ["first"]


@pytest.mark.requirement("K02")
@settings(max_examples=20)
@given(
    st.integers(1, 3),
    st.integers(1, 2),
    st.lists(st.sampled_from(["finish", "run", "fail", "restart", "wait", "crash"]), max_size=30),
)
def test_whatever_happens_no_more_run_than_may_and_all_come_to_their_end(
    running: int, waking: int, story: list[str]
) -> None:
    """An operator that is killed between a pod and its status may let one more start: nobody else knows of that pod."""
    on = crowd(6, rules(running=running, waking=waking), backoffLimit=100)
    for number, event in enumerate(story):
        _happen(on, event, number)
        assert len(on.alive()) <= running + story[: number + 1].count("crash")
    on.world.around = lambda *_: None
    for _ in range(12):
        if not on.alive():
            on.wait(400)
        if on.alive():
            on.finish_one()
    assert [on.reason(f"s{number}") for number in range(6)] == ["Completed"] * 6


def test_turns_and_lines_are_measured() -> None:
    def value(name: str, **labels: str) -> float:
        return metrics.REGISTRY.get_sample_value(f"agentsessions_{name}", labels) or 0.0

    names = [("admitted_total", {"outcome": "at-once"}), ("admitted_total", {"outcome": "queued"})]
    before = [value(name, **labels) for name, labels in names]
    waited = value("queue_wait_seconds_sum")
    on = crowd(3, rules(running=1))
    assert value("queue_sessions", namespace=NAMESPACE) == 2
    on.world.now += timedelta(seconds=60)
    on.finish_one()
    assert value("queue_sessions", namespace=NAMESPACE) == 1
    assert [value(name, **labels) for name, labels in names] == [before[0] + 1, before[1] + 1]
    assert value("queue_wait_seconds_sum") - waited == 62


def _happen(on: Crowd, event: str, number: int) -> None:
    """Let something happen to the operator, or to the pod of some session."""
    if event == "restart":
        on.restart()
        on.settle()
    elif event == "crash":
        on.world.around = crash_at(number % 3, "after")
    elif event == "wait":
        on.wait(45)
    elif on.alive():
        ends = {"fail": kubelet.ended(1, at=on.world.now), "run": kubelet.running(at=on.world.now)}
        name = on.alive()[number % len(on.alive())]
        on.report(name, ends.get(event, kubelet.ended(0, at=on.world.now)))


def _fails(verb: str, plural: str, times: int) -> Callable[[str, Request], None]:
    """Return a hook that lets so many requests fail."""
    left = [Transient(500, "no") for _ in range(times)]

    def hook(moment: str, request: Request) -> None:
        if moment == "before" and (request.verb, request.plural) == (verb, plural) and left:
            raise left.pop()

    return hook


def tenants(world: World, **of: str) -> None:
    """Make namespaces with a label."""
    for name, tenant in of.items():
        labels = {"tenant": tenant} if tenant else {}
        world.objects[NAMESPACES, "", name] = {"metadata": {"name": name, "labels": labels}}


def acme(running: int) -> Rules:
    """Return bounds of one tenant."""
    return Rules(waking=0, tenant_label="tenant", tenants={"acme": Bounds(running=running)})


@pytest.mark.requirement("K02")
def test_the_namespaces_of_a_tenant_share_its_places() -> None:
    on = Crowd(acme(2))
    tenants(on.world, **{NAMESPACE: "acme", "elsewhere": ""})
    on.restart()
    for number in range(3):
        on.add(f"s{number}", number + 1)
    on.settle()
    assert on.alive() == ["s0", "s1"]
    assert on.queue("s2").reason == "tenant acme runs 2 of 2"
    tenants(on.world, **{NAMESPACE: "globex"})
    finish(on.admission.learn_tenants(on.world))  # type: ignore[arg-type]
    on.settle()
    assert on.alive() == ["s0", "s1", "s2"], "a namespace that changes hands frees its sessions at once"


def test_who_may_not_read_namespaces_goes_on_without_tenants() -> None:
    on = Crowd(acme(1))
    tenants(on.world, **{NAMESPACE: "acme"})

    def forbid(when: str, request: Request) -> None:
        if request.plural == NAMESPACES.plural:
            raise Refused(403, "namespaces is forbidden", "Forbidden")

    on.world.around = forbid
    on.restart()
    on.add("s0", 1)
    on.add("s1", 2)
    on.settle()
    assert on.alive() == ["s0", "s1"]


def test_since_when_the_oldest_waits_is_told_by_namespace() -> None:
    def oldest() -> float | None:
        name = "agentsessions_queue_oldest_timestamp_seconds"
        return metrics.REGISTRY.get_sample_value(name, {"namespace": NAMESPACE})

    on = crowd(3, rules(running=1))
    assert oldest() == on.queue("s1").since.timestamp()
    on.add("urgent", 50, priority=10)
    on.settle()
    assert oldest() == on.queue("s1").since.timestamp(), "who is first in line has not waited for longest"
    for _ in range(4):
        on.finish_one()
    assert oldest() == 0


@pytest.mark.requirement("K02")
def test_a_session_whose_pod_can_never_be_made_does_not_keep_its_place() -> None:
    on = Crowd(rules(running=1))

    def refuse(moment: str, request: Request) -> None:
        first = request.name.startswith("first-") and (request.verb, request.plural) == ("POST", "pods")
        if moment == "before" and first:
            raise Transient(500, "no")

    on.world.around = refuse
    on.add("first", 1)
    on.settle()
    on.add("second", 2)
    on.settle()
    assert on.reason("second") == "Queued"
    on.wait(2)
    assert on.alive() == ["second"]
    assert on.reason("first") == "Queued", "and status says what it waits for"
    on.world.around = lambda *_: None
    on.finish_one()
    assert on.alive() == ["first"]


def test_only_who_gets_a_pod_is_counted_as_admitted() -> None:
    since = Since()
    on = Crowd(rules(running=5))
    on.world.refusals["POST pods"] = "exceeded quota: pods"
    on.add("first", 1)
    on.settle()
    on.wait(3600)
    assert since.grown("admitted_total", outcome="at-once") == 0
    on.world.refusals.clear()
    on.wait(600)
    assert on.alive() == ["first"]
    assert since.grown("admitted_total", outcome="at-once") == 1
