"""Hybrid sessions from wherever they may be found: in a world that obeys they come to rest, at no cost."""

from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentsessions.api.base import Json
from agentsessions.api.conditions import Reason
from agentsessions.api.names import LABEL_HOST, pod_name
from agentsessions.api.status import Host, Usage
from agentsessions.kube.paths import PODS, SESSIONS
from unit import kubelet
from unit.hosts.fakehost import make_host_session
from unit.hybrid import KEY, NAME, TIMEOUT, UID, Stage, in_pool, make_nap, make_pooled, not_ready, serving, start
from unit.make import NAMESPACE, NOW, SessionMaker, make_pod, stamp
from unit.operator_at_work import crash_at

ASLEEP = {"Asleep", "Suspended", "TurnLimitReached"}
AT_REST = ASLEEP | {"Running"}


def obey(on: Stage) -> None:
    """Let everything outside of the operator do what it is there for."""
    on.end_pods()
    for pod in on.world.live_pods():
        if pod["metadata"]["uid"] in on.hosts.draining and "deletionTimestamp" not in pod["metadata"]:
            on.world.set_pod(pod, kubelet.evicted())  # whoever stops its host ends the pod
    on.start_pods()
    for held in on.hosts.held.values():
        if UID in held and held[UID].idle_since is None:
            held[UID] = held[UID].model_copy(update={"idle_since": on.world.now})  # its turn ends
    on.stores()
    on.hear()


def come_to_rest(on: Stage) -> None:
    """Let operator and world take turns until neither has anything to do; the time in between is skipped."""
    quiet = 0
    for _ in range(120):
        before, asked, held = len(on.world.writes()), len(on.hosts.given), deepcopy(on.hosts.held)
        on.try_to_look()
        obey(on)  # what a host does about the session, the operator has yet to see
        still = (before, asked, held) == (len(on.world.writes()), len(on.hosts.given), on.hosts.held)
        quiet = quiet + 1 if still else 0
        if quiet >= 2 and (on.requeue is None or on.says()[1] == "Running"):
            return
        if quiet and on.requeue is not None and on.says()[1] != "Running":
            on.world.now += max(on.requeue, timedelta(seconds=1))
    raise AssertionError(f"this goes on for ever: {on.says()} {on.world.writes()[-8:]}")


def rests(on: Stage) -> None:
    """See that the session is at rest where it should be, and that this costs no write."""
    status = on.session().status
    reason = on.says()[1]
    assert reason in AT_REST
    suspended = bool(on.session().spec.suspended)
    assert (reason == "Suspended") is suspended
    own = {pod["metadata"]["name"] for pod in on.world.pods() if pod["metadata"]["name"].startswith(f"{NAME}-")}
    if status.host is not None:
        assert reason in ("Running", "TurnLimitReached")
        assert status.host.pod in own or on.session().spec.pool_ref is not None
    else:
        assert reason in ASLEEP
        assert status.host is None
        assert own == set()
        if reason == "Asleep":
            assert status.last_request_time == status.answered_request_time
    written = len(on.world.writes())
    for _ in range(5):
        on.look()
        obey(on)
    assert len(on.world.writes()) == written


def sleeps_in_the_end(on: Stage) -> None:
    """Let the idle time pass, more than once."""
    for _ in range(3):
        on.idle(TIMEOUT)
        come_to_rest(on)
    assert on.says()[1] in ASLEEP
    assert on.session().status.host is None
    rests(on)


PHASES: dict[str, Json] = {
    "pending": kubelet.pending(),
    "creating": kubelet.creating(),
    "not-ready": not_ready(),
    "serving": serving(),
    "failed": kubelet.evicted(),
}
NEWS = st.none() | st.fixed_dictionaries(
    {"idle_since": st.none() | st.just(NOW)},
    optional={
        "put_away": st.booleans(),
        "durable": st.sampled_from([True, False, None]),
        "beginning": st.sampled_from(["Fresh", "Resumed", "Lost", "Truncated", "Diverged", "Forked"]),
        "interrupted": st.booleans(),
        "phase": st.sampled_from(["Idle", "Failed", "Running"]),
    },
)


@dataclass(frozen=True)
class Found:
    """A pod in any state, and what the host in there has of the session."""

    phase: str
    deleting: bool
    news: Json | None


@dataclass(frozen=True)
class Situation:
    """A session as an operator may find it: status, pods (by the number of their wake) and hosts need not agree."""

    wakes: int
    suspended: bool | None
    ready: tuple[str, str] | None
    host: str | None
    pods: dict[int, Found]
    asked: bool
    heard: bool


SITUATIONS = st.builds(
    Situation,
    wakes=st.integers(0, 3),
    suspended=st.sampled_from([None, False, True]),
    ready=st.none()
    | st.tuples(st.sampled_from([str(reason) for reason in Reason]), st.sampled_from(["True", "False"])),
    host=st.sampled_from([None, "right", "unknown", "wrong"]),
    pods=st.dictionaries(
        st.integers(0, 4), st.builds(Found, st.sampled_from(sorted(PHASES)), st.booleans(), NEWS), max_size=3
    ),
    asked=st.booleans(),
    heard=st.booleans(),
)


def as_found(it: Situation) -> Stage:
    """Return the stage of a situation."""
    on = start(make_nap(suspended=it.suspended))
    on.look()
    for number, pod in it.pods.items():
        on.world.add(PODS, make_pod(on.session(), number).with_label(LABEL_HOST, "session").json())
        body = on.world.objects[PODS, NAMESPACE, pod_name(NAME, UID, number)]
        on.world.set_pod(body, PHASES[pod.phase])
        if pod.news is not None:
            on.hosts.held[body["metadata"]["uid"]] = {UID: make_host_session(UID, NAME, **pod.news)}
        if pod.deleting and pod.phase != "pending":
            body["metadata"]["deletionTimestamp"] = stamp(NOW)
    status = on.world.objects[SESSIONS, *KEY]["status"]
    status["wakes"] = it.wakes
    if it.host is not None:
        body = on.world.objects.get((PODS, NAMESPACE, pod_name(NAME, UID, it.wakes)))
        uid = {"right": body["metadata"]["uid"] if body else "gone", "unknown": None, "wrong": "other"}[it.host]
        status["host"] = Host(pod=pod_name(NAME, UID, it.wakes), pod_uid=uid).to_json()
    if it.ready is not None:
        said = {"reason": it.ready[0], "status": it.ready[1]}
        status["conditions"] = [one | said for one in status["conditions"]]
    if it.asked:
        on.ask()
    if it.heard:
        on.hear()
    return on


FAILED_UNKNOWN = Situation(
    wakes=0,
    suspended=None,
    ready=None,
    host="unknown",
    pods={0: Found("serving", deleting=False, news={"idle_since": None, "phase": "Failed"})},
    asked=False,
    heard=False,
)
"""A pass was cut short before it wrote the pod's uid; the host there has the session, and its process has failed."""


@pytest.mark.requirement("H12")
@given(SITUATIONS)
@example(FAILED_UNKNOWN)
def test_from_any_state_it_comes_to_rest_and_rest_costs_no_write(it: Situation) -> None:
    on = as_found(it)
    come_to_rest(on)
    rests(on)
    sleeps_in_the_end(on)


STEPS = st.lists(
    st.sampled_from(
        [
            "ask",
            "suspend",
            "resume",
            "lose",
            "drain",
            "evict",
            "nap",
            "restart",
            "busy",
            "settings",
            "spend",
            "raise",
            "look",
        ]
    ),
    max_size=8,
)


def do(on: Stage, step: str) -> None:
    """Let something happen."""
    live = [pod for pod in on.world.pods() if "deletionTimestamp" not in pod["metadata"]]
    own = [pod for pod in live if pod["metadata"]["name"].startswith(f"{NAME}-")]
    match step:
        case "ask":
            on.idle(1)
            on.ask()
        case "suspend" | "resume":
            on.world.edit(SESSIONS, NAME, suspended=step == "suspend")
        case "lose" if own:
            on.lose(own[0]["metadata"]["name"])
        case "drain" if own:
            on.world.delete_gracefully(PODS, own[0])
        case "evict" if own and own[0]["metadata"]["uid"] in on.hosts.views:
            on.stop_host(own[0]["metadata"]["uid"])
        case "nap":
            on.idle(TIMEOUT)
        case "restart":
            on.restart()
            on.hear()
        case "busy":
            on.tell(idle_since=None)
        case "spend":
            on.world.edit(SESSIONS, NAME, limits={"maxSessionTurns": 1})
            on.tell(usage=Usage(turns=1))
        case "raise":
            on.world.edit(SESSIONS, NAME, limits={"maxSessionTurns": 1000})
        case "settings":
            model = on.session().spec.agent
            on.world.edit(SESSIONS, NAME, agent={"maxTurns": ((model.max_turns or 1) if model else 1) + 1})
    on.try_to_look()


@given(st.sampled_from([make_nap(), make_pooled()]), STEPS, st.data())
def test_whatever_happens_in_whatever_order_and_wherever_the_operator_dies(
    maker: SessionMaker, steps: list[str], data: st.DataObject
) -> None:
    pooled = "poolRef" in maker.body["spec"]
    on = in_pool(maker, replicas=2) if pooled else start(maker)
    for step in steps:
        if data.draw(st.booleans(), label="dies"):
            on.world.around = crash_at(data.draw(st.integers(0, 4)), data.draw(st.sampled_from(["before", "after"])))
        do(on, step)
        on.world.around = lambda when, request: None
        if data.draw(st.booleans(), label="obeys"):
            obey(on)
    come_to_rest(on)
    rests(on)
    own = [pod["metadata"]["name"] for pod in on.world.pods() if pod["metadata"]["name"].startswith(f"{NAME}-")]
    assert len(own) == (0 if pooled or on.session().status.host is None else 1)
    sleeps_in_the_end(on)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(8))
def test_an_operator_that_dies_at_any_write_of_a_wake_makes_one_pod_for_it(number: int, when: str) -> None:
    on = start()
    on.settle()
    on.ask()
    on.world.around = crash_at(number, when)
    on.try_to_look()
    on.world.around = lambda when, request: None
    on.settle()
    assert on.pods() == [pod_name(NAME, UID, 1)]
    on.start_pods()
    on.settle()
    assert on.says() == ("True", "Running")
    assert (on.session().status.wakes, len(on.hosts.given)) == (1, 1)


@pytest.mark.requirement("H12")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(3))
def test_an_operator_that_dies_while_a_session_falls_asleep_lets_it_sleep(number: int, when: str) -> None:
    on = start()
    on.settle()
    on.wake()
    on.idle(TIMEOUT)
    on.look()
    on.stores()
    on.world.around = crash_at(number, when)
    on.try_to_look()
    on.world.around = lambda when, request: None
    on.hear()
    come_to_rest(on)
    assert on.says() == ("True", "Asleep")
    assert (on.session().status.wakes, len(on.hosts.given)) == (1, 1)
    rests(on)
