"""What is planned for each state of the world: a table, and that planning is pure."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.api.base import Json
from agentsessions.api.config import OperatorConfig
from agentsessions.api.names import LABEL_NETWORK_POLICY
from agentsessions.api.status import AgentSessionStatus, Host, Termination
from agentsessions.api.template import TemplateFields
from agentsessions.builders.networkpolicy import network_policy, policy_label
from agentsessions.policies import restart
from agentsessions.policies.facts import PodFacts
from agentsessions.policies.resolve import describe
from agentsessions.reconcile import ending
from agentsessions.reconcile.model import DeletePod, Observed, Plan
from agentsessions.reconcile.plan import make_plan
from unit import kubelet
from unit.make import CONFIG, NOW, UID, SessionMaker, later, make_pod, make_report, make_session, make_settings

POLICY = policy_label(network_policy("team-a", make_settings(), CONFIG))
PAUSE = restart.pause(CONFIG.retry_backoff, UID, failures=1, disruptions=0).total_seconds()
MADE = make_pod().made_with(make_settings().hash).with_label(LABEL_NETWORK_POLICY, POLICY)
DONE = make_report(result={"text": "4 files"})
LAST = Termination(reason="AgentFailed", pod="p", pod_uid="pod-0", finished_at=NOW)
AGAIN = {"restarts": 1, "failures": 1, "last_termination": LAST}


@dataclass
class Case:
    """A world, and what is to come of it: the reason of Ready, the kinds of actions, and when to look again."""

    session: SessionMaker
    pods: list[PodFacts]
    reason: str | None
    actions: list[str] = field(default_factory=list)
    requeue: float | None = None
    problem: str = ""
    seconds: float = 0


START = ["Ensure", "Ensure", "StartPod"]
RUNNING = make_session().with_status(host=Host(pod="hello-199a6b7b-0", pod_uid="pod-0"), start_time=NOW)
FINISHED = make_session().with_status(completion_time=NOW)

CASES = {
    "new": Case(make_session(), [], "Starting", START, 9),
    "new-with-storage": Case(make_session().with_storage("1Gi"), [], "Starting", ["Ensure", *START], 9),
    "template-missing": Case(make_session(), [], "TemplateNotFound", problem="gone"),
    "pod-made": Case(make_session(), [MADE.facts()], "Starting", ["Ensure"], 9),
    "pod-slow": Case(make_session(), [MADE.facts()], "Starting", ["Ensure"], 15, seconds=20),
    "made-by-a-clock-ahead": Case(make_session(), [MADE.facts()], "Starting", ["Ensure"], 9, seconds=-60),
    "image-missing": Case(
        make_session(), [MADE.with_status(kubelet.creating("ErrImagePull")).facts()], "ImagePullFailed", ["Ensure"], 9
    ),
    "no-room": Case(
        make_session(), [MADE.with_status(kubelet.unschedulable()).facts()], "Unschedulable", ["Ensure"], 9
    ),
    "running": Case(make_session(), [MADE.with_status(kubelet.running()).facts()], "Running", ["Ensure"], 3660),
    "running-under-a-policy-that-settings-ask-for-no-more": Case(
        make_session(),
        [MADE.with_label(LABEL_NETWORK_POLICY, "old").with_status(kubelet.running()).facts()],
        "Running",
        requeue=3660,
    ),
    "running-while-its-template-is-gone": Case(
        make_session(), [MADE.with_status(kubelet.running()).facts()], "Running", problem="gone"
    ),
    "silent-node": Case(make_session(), [MADE.with_status({"phase": "Unknown"}).facts()], "Running", ["Ensure"], 3660),
    "done": Case(RUNNING, [MADE.with_status(kubelet.ended(0, message=DONE)).facts()], "Completed"),
    "failed": Case(RUNNING, [MADE.with_status(kubelet.ended(1)).facts()], "BackOff", requeue=PAUSE),
    "evicted": Case(RUNNING, [MADE.with_status(kubelet.evicted()).facts()], "BackOff", requeue=0),
    "failed-for-the-last-time": Case(
        RUNNING.with_spec(backoff_limit=0), [MADE.with_status(kubelet.ended(1)).facts()], "AgentFailed"
    ),
    "vanished": Case(RUNNING, [], "BackOff", requeue=0),
    "vanished-and-never-again": Case(RUNNING.with_spec(restart_policy="Never"), [], "PodDeleted"),
    "between-attempts": Case(make_session().with_status(**AGAIN), [], None, requeue=PAUSE),
    "between-attempts-with-a-clock-ahead": Case(
        make_session().with_status(**AGAIN), [], None, requeue=PAUSE, seconds=-99
    ),
    "next-attempt-is-due": Case(make_session().with_status(**AGAIN), [], "Starting", START, 9, seconds=10),
    "next-attempt-is-due-and-the-last-pod-still-there": Case(
        make_session().with_status(**AGAIN), [MADE.facts()], "Starting", [*START, "DeletePod"], 9, seconds=10
    ),
    "the-last-pod-is-on-its-way-out": Case(
        make_session().with_status(**AGAIN), [MADE.deleting().facts()], "Starting", START, 9, seconds=10
    ),
    "the-last-pod-is-kept": Case(
        make_session().with_status(**AGAIN).with_spec(pod_retention_policy="Retain"),
        [MADE.facts()],
        "Starting",
        START,
        9,
        seconds=10,
    ),
    "the-end-is-told-but-the-host-was-not-cleared": Case(
        make_session().with_status(host=Host(pod="p", pod_uid="pod-0"), **AGAIN), [], "Starting", START, 9, seconds=10
    ),
    "a-pod-of-anothers": Case(make_session(), [MADE.owned_by("other").facts()], "PodConflict"),
    "settings-changed": Case(make_session(), [MADE.made_with("old").facts()], "Starting", ["DeletePod"]),
    "settings-changed-and-status-names-the-pod": Case(RUNNING, [MADE.made_with("old").facts()], "Starting", [], 0),
    "settings-changed-and-pod-on-its-way-out": Case(
        make_session(), [MADE.made_with("old").on_node("n").deleting().facts()], None, [], 15
    ),
    "settings-changed-while-running": Case(
        make_session(), [MADE.made_with("old").with_status(kubelet.running()).facts()], "Running", ["Ensure"]
    ),
    "deleting": Case(make_session().deleting(), [MADE.facts()], None),
    "finished": Case(FINISHED, [MADE.facts()], None, ["DeletePod"]),
    "finished-and-pod-on-its-way-out": Case(FINISHED, [MADE.deleting().facts()], None),
    "finished-and-pod-of-anothers": Case(FINISHED, [MADE.owned_by("other").facts()], None),
    "finished-and-pod-kept": Case(FINISHED.with_spec(pod_retention_policy="Retain"), [MADE.facts()], None),
    "finished-with-time-left": Case(
        FINISHED.with_spec(ttl_seconds_after_finished=60), [MADE.facts()], None, ["DeletePod"], 50, seconds=10
    ),
    "finished-and-over": Case(
        FINISHED.with_spec(ttl_seconds_after_finished=60), [MADE.facts()], None, ["DeleteSession"], seconds=60
    ),
}


def observed(case: Case) -> Observed:
    """Return the world of a case."""
    return Observed(case.session.build(), pods=case.pods, template_problem=case.problem)


def reason_of(status: AgentSessionStatus) -> str | None:
    """Return the reason of Ready."""
    ready = status.condition("Ready")
    return ready.reason if ready else None


def plan_of(case: Case, config: OperatorConfig = CONFIG) -> Plan:
    """Return the plan."""
    return make_plan(observed(case), later(case.seconds), config)


@pytest.mark.parametrize("name", CASES)
def test_plan(name: str) -> None:
    case = CASES[name]
    plan = plan_of(case)
    assert reason_of(plan.status) == case.reason
    assert [type(action).__name__ for action in plan.actions] == case.actions
    assert plan.requeue == (None if case.requeue is None else timedelta(seconds=case.requeue))


@pytest.mark.parametrize("name", CASES)
def test_the_same_world_gives_the_same_plan(name: str) -> None:
    assert plan_of(CASES[name]) == plan_of(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_a_plan_never_forgets_what_status_told(name: str) -> None:
    case = CASES[name]
    before, after = case.session.build().status, plan_of(case).status
    assert (after.restarts, after.failures) >= (before.restarts, before.failures)
    if before.completion_time:
        assert after.completion_time == before.completion_time
    if before.start_time:
        assert after.start_time == before.start_time


def test_an_unstarted_pod_is_deleted_only_as_it_was_seen() -> None:
    (action,) = plan_of(CASES["settings-changed"]).actions
    assert action == DeletePod(MADE.made_with("old").facts(), "team-a", unchanged=True)


def test_without_a_model_endpoint_nothing_starts() -> None:
    plan = plan_of(CASES["new"], OperatorConfig())
    assert (reason_of(plan.status), plan.actions) == ("InvalidSpec", ())


def test_what_a_pass_that_was_cut_short_would_have_told_is_told_by_the_next() -> None:
    plan = plan_of(CASES["pod-made"])
    assert plan.status.resolved == describe(make_settings())


def test_a_deadline_that_passed_between_attempts_ends_the_session() -> None:
    resolved = describe(make_settings())
    session = make_session().with_status(start_time=NOW, resolved=resolved, **AGAIN)
    plan = make_plan(Observed(session.build()), later(3600), CONFIG)
    assert reason_of(plan.status) == "DeadlineExceeded"
    assert plan.status.completion_time == later(3600)


PODS: list[Json] = [
    kubelet.pending(),
    kubelet.creating(),
    kubelet.creating("ErrImagePull"),
    kubelet.unschedulable(),
    kubelet.running(),
    kubelet.ended(0, message=DONE),
    kubelet.ended(1),
    kubelet.evicted(),
    kubelet.drained(),
    kubelet.node_lost(),
    kubelet.never_started(),
    kubelet.deadline_exceeded(),
]


@given(
    status=st.none() | st.sampled_from(PODS),
    attempt=st.integers(-1, 3),
    deleting=st.booleans(),
    owner=st.sampled_from(["mine", "other"]),
    made_with=st.sampled_from([make_settings().hash, "old"]),
    restarts=st.integers(0, 2),
    host=st.sampled_from([None, "pod-0", "pod-9"]),
    seconds=st.integers(-100, 10_000),
    problem=st.sampled_from(["", "gone"]),
)
def test_any_world_has_a_plan_with_a_ready_condition_and_one_pod_at_most(
    status: Json | None,
    attempt: int,
    deleting: bool,
    owner: str,
    made_with: str,
    restarts: int,
    host: str | None,
    seconds: int,
    problem: str,
) -> None:
    known = Host(pod="p", pod_uid=host) if host else None
    session = make_session().with_status(restarts=restarts, host=known).build()
    maker = make_pod(session, attempt).made_with(made_with)
    maker = maker.owned_by("other") if owner == "other" else maker
    maker = maker.deleting() if deleting else maker
    pods = [maker.with_status(status).facts()] if status else []
    plan = make_plan(Observed(session, TemplateFields(), pods=pods, template_problem=problem), later(seconds), CONFIG)
    kinds = [type(action).__name__ for action in plan.actions]
    assert kinds.count("StartPod") <= 1
    assert not (pods and attempt == restarts and "StartPod" in kinds)
    assert not [a for a in plan.actions if isinstance(a, DeletePod) and a.pod.owner_uid != session.metadata.uid]
    assert plan.requeue is None or plan.requeue >= timedelta()
    if plan.status != session.status:
        assert plan.status.condition("Ready") is not None


def test_only_a_pod_that_status_names_can_have_vanished() -> None:
    with pytest.raises(ValueError, match="no pod is named"):
        ending.pod_vanished(observed(CASES["new"]), NOW, CONFIG)


def test_only_a_finished_session_is_tidied_up() -> None:
    with pytest.raises(ValueError, match="not finished"):
        ending.tidy(observed(CASES["new"]), NOW)
