"""What `disruption` makes of pods, budgets and marks, from the first pod on and while pods run."""

from typing import Any

import pytest

from agentsessions.api.base import Json
from agentsessions.api.names import ANNOTATION_DO_NOT_DISRUPT, ANNOTATION_SAFE_TO_EVICT, LABEL_DISRUPTION, NEVER_BUDGET
from agentsessions.builders.disruption import budget_of
from agentsessions.builders.ownhost import own_host_pod
from agentsessions.builders.pool.neighbours import disruption_budget
from agentsessions.kube.paths import BUDGETS, PODS, SESSIONS
from unit import kubelet
from unit.hybrid import CONFIG, NAME, Stage, awake, make_nap, start
from unit.make import NAMESPACE, make_session, make_settings
from unit.operator_at_work import Operator
from unit.pools import a_pool
from unit.situations import pod_of
from unit.world import World

KINDS = ["Safe", "AtTurnBoundary", "Never"]


def marks(pod: Json) -> tuple[str | None, str | None, str | None]:
    """Return what drains and autoscalers read of a pod."""
    labels, annotations = pod["metadata"]["labels"], pod["metadata"]["annotations"]
    known = annotations.get(ANNOTATION_SAFE_TO_EVICT), annotations.get(ANNOTATION_DO_NOT_DISRUPT)
    return labels.get(LABEL_DISRUPTION), *known


MARKS = {
    "Safe": ("Safe", "true", None),
    "AtTurnBoundary": ("AtTurnBoundary", "true", None),
    "Never": ("Never", "false", "true"),
}


def budget(mark: Any) -> Json:
    """Return the budget of pods with a mark."""
    found = budget_of(NAMESPACE, mark)
    assert found is not None
    return found


def patches(on: Stage) -> int:
    """Return how often a pod was patched."""
    return sum((r.verb, r.plural) == ("PATCH", PODS.plural) for r in on.world.requests)


@pytest.mark.requirement("K02")
@pytest.mark.parametrize("kind", KINDS)
def test_a_pod_is_marked_and_only_never_has_a_budget_which_stands_before_it(kind: str) -> None:
    on = awake(make_nap(disruption=kind))
    (pod,) = on.world.pods()
    assert marks(pod) == MARKS[kind]
    assert [one["metadata"]["name"] for one in on.world.of(BUDGETS)] == ([NEVER_BUDGET] if kind == "Never" else [])
    made = [r.plural for r in on.world.requests if r.verb == "POST"]
    if kind == "Never":
        assert made.index(BUDGETS.plural) < made.index(PODS.plural)
    assert patches(on) == 0
    resolved = on.session().status.resolved
    assert resolved is not None
    assert resolved.disruption == kind


def test_who_says_nothing_is_evicted_at_a_turns_boundary() -> None:
    (pod,) = awake().world.pods()
    assert marks(pod) == MARKS["AtTurnBoundary"]


@pytest.mark.parametrize(("kind", "seconds"), [("Safe", "0"), ("AtTurnBoundary", "89"), ("Never", "89")])
def test_only_what_is_safe_does_not_wait_for_its_turn(kind: str, seconds: str) -> None:
    session = make_nap(disruption=kind, terminationGracePeriodSeconds=90).build()
    pod = own_host_pod(session, make_settings(session, CONFIG), 1, "secret", "policy", CONFIG)
    env = {var["name"]: var.get("value") for var in pod["spec"]["containers"][0]["env"]}
    assert env["AGENTSESSIONS_GRACE_SECONDS"] == seconds
    assert pod["spec"]["terminationGracePeriodSeconds"] == 90


@pytest.mark.requirement("K02")
@pytest.mark.parametrize(("kind", "seconds"), [("Safe", "0"), ("AtTurnBoundary", "89"), ("Never", "89")])
def test_an_ephemeral_session_is_told_of_its_grace_likewise(kind: str, seconds: str) -> None:
    world = World()
    limits = {"activeDeadlineSeconds": 600}
    maker = make_session().with_spec(disruption=kind, terminationGracePeriodSeconds=90, limits=limits)
    world.add(SESSIONS, maker.json())
    Operator(world).settle()
    spec = pod_of(world)["spec"]
    env = {var["name"]: var.get("value") for var in spec["containers"][0]["env"]}
    assert (env["AGENTSESSIONS_GRACE_SECONDS"], spec["terminationGracePeriodSeconds"]) == (seconds, 90)
    assert (env["AGENTSESSIONS_DEADLINE_SECONDS"], spec["activeDeadlineSeconds"]) == ("600", 600)


@pytest.mark.requirement("K02")
def test_a_change_reaches_the_pod_that_runs_with_one_patch_and_costs_nothing_after() -> None:
    on = awake()
    for number, kind in enumerate(["Never", "AtTurnBoundary", "Safe", "Never"], start=1):
        on.world.edit(SESSIONS, NAME, disruption=kind)
        on.settle()
        (pod,) = on.world.pods()
        assert marks(pod) == MARKS[kind]
        assert patches(on) == number
        assert on.settle() == 0
        assert on.says() == ("True", "Running")
    assert on.deletions() == 0
    assert len(on.world.of(BUDGETS)) == 1, "made once, and left"


def test_a_budget_that_somebody_changed_or_removed_is_set_right() -> None:
    on = awake(make_nap(disruption="Never"))
    key = (BUDGETS, NAMESPACE, NEVER_BUDGET)
    on.world.objects[key]["spec"]["minAvailable"] = 1
    on.settle()
    assert on.world.objects[key]["spec"] == budget("Never")["spec"]
    del on.world.objects[key]
    on.settle()
    assert on.world.objects[key]["spec"] == budget("Never")["spec"]


def test_pods_of_an_earlier_release_have_no_mark_and_are_patched_only_for_another_intent() -> None:
    on = awake()
    (pod,) = on.world.pods()
    del pod["metadata"]["labels"][LABEL_DISRUPTION]
    assert on.settle() == 0
    on.world.edit(SESSIONS, NAME, disruption="Never")
    on.settle()
    assert marks(pod) == MARKS["Never"]


def test_a_pod_that_goes_at_this_moment_is_no_trouble() -> None:
    on = awake()
    on.world.edit(SESSIONS, NAME, disruption="Never")

    def gone(when: str, request: Any) -> None:
        if (when, request.verb, request.plural) == ("before", "PATCH", PODS.plural) and on.pods():
            on.world.remove(PODS, NAMESPACE, request.name)

    on.world.around = gone
    on.look()
    on.world.around = lambda when, request: None
    on.settle()
    on.start_pods()
    on.settle()
    assert on.says() == ("True", "Running")
    assert marks(next(on.world.pods())) == MARKS["Never"]


@pytest.mark.parametrize("kind", KINDS)
def test_ephemeral_sessions_have_it_too_also_while_they_run(kind: str) -> None:
    world = World()
    world.add(SESSIONS, make_session().with_spec(disruption=kind).json())
    operator = Operator(world)
    operator.settle()
    assert marks(pod_of(world)) == MARKS[kind]
    world.set_pod(pod_of(world), kubelet.running())
    operator.settle()
    other = "Never" if kind != "Never" else "Safe"
    world.edit(SESSIONS, "hello", disruption=other)
    operator.settle()
    assert marks(pod_of(world)) == MARKS[other]
    assert len(world.of(BUDGETS)) == 1


def test_the_budget_is_of_all_such_pods_and_of_no_others() -> None:
    spec = budget("Never")["spec"]
    assert spec["selector"]["matchLabels"] == {
        "app.kubernetes.io/managed-by": "agentsessions",
        "agentsessions.dev/disruption": "Never",
    }
    assert spec["minAvailable"] > 1_000_000
    assert spec["minAvailable"] < 2**31 - 1_000_000, "the API server counts in 32 bits"
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.mark.parametrize(("kind", "bound"), [("Safe", "100%"), ("AtTurnBoundary", 1), ("Never", 0)])
def test_a_pools_own_budget_has_its_bound(kind: Any, bound: int | str) -> None:
    assert disruption_budget(a_pool(), kind)["spec"]["maxUnavailable"] == bound
    assert disruption_budget(a_pool(), kind, held=True)["spec"]["maxUnavailable"] == 0


def test_a_pools_host_that_is_not_ready_blocks_no_drain_unless_it_holds_what_is_nowhere_else() -> None:
    policy = "unhealthyPodEvictionPolicy"
    assert disruption_budget(a_pool(), "Never")["spec"][policy] == "AlwaysAllow"
    assert disruption_budget(a_pool(), "Never", held=True)["spec"][policy] == "IfHealthyBudget"
    assert disruption_budget(a_pool())["spec"][policy] == "IfHealthyBudget"


def test_nothing_waits_for_a_budget_of_a_session_that_sleeps() -> None:
    on = start(make_nap(disruption="Never"))
    assert on.settle() == 1
    assert on.world.of(BUDGETS) == []
