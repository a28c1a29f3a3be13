"""Containers of Hybrid sessions that end and are started again where they were: told once, and not for ever."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from agentsessions.api.base import Json
from agentsessions.api.host import Beginning, Phase
from agentsessions.kube.paths import PODS, SESSIONS
from unit import kubelet
from unit.hybrid import NAME, UID, Stage, awake, in_pool, make_nap, own_pod, serving, sleep, start
from unit.make import NAMESPACE, NOW, SessionMaker, stamp

LIMIT = 3
"""`backoffLimit` by default."""


def crash(on: Stage, times: int = 0, exit_code: int = 1, reason: str = "Error", lived: float = 30) -> None:
    """Let the container of the session's pod end once more; `times` it was started again before."""
    (pod,) = on.world.pods()
    status = kubelet.crash_loop(times, exit_code, reason, on.world.now, lived)
    on.world.set_pod(pod, status | unready())
    for held in on.hosts.held.values():
        held.clear()
    cut(on)
    on.settle()


def cut(on: Stage) -> None:
    """Let the hosts' streams end: what they said still stands."""
    on.hosts.views = {uid: replace(view, connected=False) for uid, view in on.hosts.views.items()}


def recover(on: Stage, times: int, exit_code: int = 1, reason: str = "Error") -> None:
    """Let the container run again, and its host serve."""
    (pod,) = on.world.pods()
    on.hosts.beginning = Beginning.RESUMED
    containers = kubelet.restarted(times, exit_code, reason, on.world.now)["containerStatuses"]
    on.world.set_pod(pod, serving() | {"containerStatuses": containers})
    on.hear()
    on.settle()


def unready() -> Json:
    """The host does not serve."""
    return {"podIP": "10.0.0.9", "conditions": [{"type": "Ready", "status": "False"}]}


@pytest.mark.requirement("K02", "H03")
def test_a_container_that_was_killed_for_memory_is_told_and_the_session_goes_on_under_its_id() -> None:
    on = awake()
    on.idle(30)
    crash(on, exit_code=137, reason="OOMKilled")
    status = on.session().status
    assert (status.restarts, status.failures, status.oom_kills) == (1, 1, 1)
    last = status.last_termination
    assert last is not None
    assert (last.reason, last.exit_code, last.finished_at) == ("OOMKilled", 137, on.world.now)
    assert (last.pod, last.pod_uid, last.node) == (own_pod(1), status.host and status.host.pod_uid, "n1")
    assert last.in_place is True
    assert on.events()[0] == "OOMKilled"
    recover(on, 1, exit_code=137, reason="OOMKilled")
    assert on.says() == ("True", "Running")
    assert on.says("Resumed") == ("True", "TranscriptFound")
    after = on.session().status
    assert (after.session_id, after.restarts, after.oom_kills) == (UID, 1, 1), "told once, by its end"
    assert after.last_termination == last
    assert (on.pods(), on.deletions()) == ([own_pod(1)], 0)
    epochs = [given.epoch for given in on.hosts.given]
    assert epochs == [2, 3], "what the container before may still have on its way counts no more"


@pytest.mark.requirement("K02")
def test_an_end_costs_one_write_however_often_one_looks() -> None:
    on = awake()
    before = on.status_writes()
    crash(on)
    assert on.status_writes() == before + 1
    on.idle(300)
    assert on.settle() == 0
    before = on.status_writes()
    recover(on, 1)
    assert on.status_writes() <= before + 2, "Running again"
    assert on.events().count("HostCrashed") == 1


def test_ends_that_nobody_saw_are_counted_by_the_kubelets_number() -> None:
    on = awake()
    on.restart()
    recover(on, 5)
    status = on.session().status
    assert (status.restarts, status.failures) == (5, LIMIT), "each was followed by another start"
    assert on.says() == ("True", "Running"), "it serves: nothing is held against it now"
    assert on.pods() == [own_pod(1)]


def test_a_loop_that_nobody_saw_is_over_all_the_same() -> None:
    on = awake()
    on.restart()
    crash(on, LIMIT)
    assert on.session().status.failures == LIMIT + 1
    assert on.says("Stalled") == ("True", "BackoffLimitExceeded")


def test_ends_that_nobody_saw_are_not_in_a_row_when_the_last_life_was_long() -> None:
    on = awake()
    on.restart()
    on.idle(4 * 3600)
    crash(on, LIMIT, lived=3600)
    assert (on.session().status.restarts, on.session().status.failures) == (LIMIT + 1, 1)
    assert on.says() == ("False", "BackOff")


def unseen(on: Stage) -> None:
    """Let more ends go by than are allowed, while the operator is away."""
    on.restart()
    recover(on, LIMIT + 2)


def kept(on: Stage) -> None:
    """Let a pod that was kept beyond the limit come to itself again, and store what it had."""
    on.idle(60)
    on.tell(**AWAY)
    on.settle()
    for times in range(LIMIT + 1):
        crash(on, times)
    assert on.says("Stalled") == ("True", "BackoffLimitExceeded")
    recover(on, LIMIT + 1)


@pytest.mark.requirement("K02")
@pytest.mark.parametrize("later", [60, 7 * 86_400], ids=["soon", "a week later"])
@pytest.mark.parametrize("survived", [unseen, kept])
def test_a_session_that_outlived_its_ends_bears_a_readiness_probe_that_fails(
    survived: Callable[[Stage], None], later: float
) -> None:
    on = awake()
    survived(on)
    on.tell(durable=True, store_problem=None)
    on.settle()
    on.idle(later)
    on.settle()
    (pod,) = on.world.pods()
    on.world.set_pod(pod, pod["status"] | unready())
    on.settle()
    assert on.says("Reconciling")[0] == "True"
    assert on.pods() == [own_pod(1)]
    on.world.set_pod(pod, pod["status"] | serving() | {"containerStatuses": pod["status"]["containerStatuses"]})
    on.settle()
    assert on.says() == ("True", "Running")


@pytest.mark.requirement("K02")
def test_a_drain_soon_after_is_not_held_against_it() -> None:
    on = awake()
    unseen(on)
    on.tell(durable=True)
    on.idle(120)
    on.lose(own_pod(1))
    on.settle()
    assert on.says() == ("False", "HostLost")
    on.idle(10)
    on.settle()
    assert on.pods() == [own_pod(2)]


@pytest.mark.requirement("K02")
def test_one_end_more_soon_after_is_one_too_many() -> None:
    on = awake()
    unseen(on)
    on.idle(60)
    crash(on, LIMIT + 2)
    assert on.says("Stalled") == ("True", "BackoffLimitExceeded")


def test_what_was_before_a_version_that_counts_is_no_news() -> None:
    on = awake()
    before = on.session().status
    assert before.host is not None
    on.world.objects[SESSIONS, NAMESPACE, NAME]["status"]["host"].pop("terminations", None)
    on.idle(30 * 86_400)
    on.restart()
    (pod,) = on.world.pods()
    on.world.set_pod(pod, serving() | up(2 * LIMIT))
    on.hear()
    assert on.look() == 1, "one write"
    status = on.session().status
    assert (status.restarts, status.failures, status.last_termination) == (0, 0, None)
    assert on.events() == []
    crash(on, 2 * LIMIT)
    assert (on.session().status.restarts, on.session().status.failures) == (1, 1)


def test_the_first_end_of_a_pod_that_never_served_is_counted() -> None:
    on = start()
    on.settle()
    on.ask()
    on.look()
    crash(on)
    assert on.session().status.failures == 1


@pytest.mark.requirement("K02")
def test_a_probe_that_failed_is_told_apart_by_the_nodes_event() -> None:
    on = awake()
    on.idle(60)
    said = "Container agent failed liveness probe, will be restarted"
    on.kubelet_posts("Killing", said, on.world.now - timedelta(seconds=5))
    crash(on, exit_code=0, reason="Completed")
    last = on.last_end()
    assert (last.reason, last.exit_code) == ("ProbeFailed", 0)
    asked = on.asked_for_events()
    on.look()
    assert on.asked_for_events() == asked, "asked once for each end"


def in_a_loop(maker: SessionMaker | None = None) -> Stage:
    """Return the stage of a session whose container ended as often as may be, and once more."""
    on = awake(maker)
    for times in range(LIMIT):
        on.idle(10)
        crash(on, times)
        assert on.says("Reconciling") == ("True", "BackOff")
        assert "exit code 1" in on.message()
        recover(on, times + 1)
    on.idle(10)
    crash(on, LIMIT)
    return on


@pytest.mark.requirement("K02")
def test_a_crash_loop_ends_as_stalled_without_a_pod_and_a_message_tries_again() -> None:
    on = in_a_loop()
    assert on.says("Stalled") == ("True", "BackoffLimitExceeded")
    assert "backoffLimit 3" in on.message()
    assert "exit code 1" in on.message()
    assert on.events()[-1] == "BackoffLimitExceeded"
    assert on.pods() == []
    on.end_pods()
    on.idle(3600)
    assert on.settle() == 0
    on.wake()
    assert on.says() == ("True", "Running")
    assert on.pods() == [own_pod(2)]
    assert on.session().status.failures == 0, "a new reason to try begins a new count"
    assert on.session().status.restarts == LIMIT + 1


def loop_again(on: Stage) -> float:
    """Have a message wake the session in vain once more; return how many seconds the next has to wait."""
    on.world.now = max(on.world.now, on.session().status.retry_time or on.world.now)
    on.end_pods()
    on.settle()
    on.ask()
    on.settle()
    on.start_pods()
    on.settle()
    for times in range(LIMIT + 1):
        crash(on, times)
    assert on.says("Stalled") == ("True", "BackoffLimitExceeded")
    until = on.session().status.retry_time
    return (until - on.world.now).total_seconds() if until is not None else 0.0


@pytest.mark.requirement("K02", "H12")
def test_one_that_is_woken_in_vain_again_and_again_is_tried_with_growing_pauses() -> None:
    on, pauses = in_a_loop(), list[float]()
    assert (on.session().status.failed_wakes, on.session().status.retry_time) == (1, None)
    for number in range(2, 10):
        pauses.append(loop_again(on))
        assert on.session().status.failed_wakes == number
        on.end_pods()
        on.idle(1)
        on.ask()  # a client that heeds no Retry-After, by a gateway that has not seen the pause yet
        before = on.status_writes()
        on.settle()
        assert (on.pods(), on.status_writes() - before) == ([], 0)
        assert on.requeue is not None
        assert on.requeue.total_seconds() == pauses[-1] - 1
        on.idle(pauses[-1] - 2)
        on.settle()
        assert on.pods() == []
        on.idle(1)
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]
    on.settle()
    assert len(on.pods()) == 1, "its time has come"
    assert on.session().status.retry_time is None


def test_a_pause_is_over_for_a_clock_that_was_set_back() -> None:
    on = in_a_loop()
    assert loop_again(on) == 10
    on.end_pods()
    on.world.now -= timedelta(days=1)
    on.ask()
    on.settle()
    assert len(on.pods()) == 1


@pytest.mark.parametrize("how", ["slept", "changed", "long-ago"])
def test_the_pauses_begin_anew(how: str) -> None:
    on = in_a_loop()
    loop_again(on)
    assert loop_again(on) == 20
    on.end_pods()
    if how == "changed":
        on.world.edit(SESSIONS, NAME, backoffLimit=LIMIT, idleTimeoutSeconds=60)
        on.settle()
        assert (on.session().status.failed_wakes, on.session().status.retry_time) == (0, None)
    on.idle(3600 if how == "long-ago" else 20)
    if how == "slept":
        on.wake()
        assert on.says() == ("True", "Running")
        sleep(on)
        assert (on.session().status.failed_wakes, on.session().status.retry_time) == (0, None)
    assert loop_again(on) == 0
    assert on.session().status.failed_wakes == 1


@pytest.mark.requirement("K02")
def test_a_changed_spec_lets_it_sleep_and_the_next_message_wakes_it() -> None:
    on = in_a_loop()
    on.end_pods()
    on.world.edit(SESSIONS, NAME, resources={"memory": "2Gi"})
    on.settle()
    assert on.says() == ("True", "Asleep")
    on.wake()
    assert on.says() == ("True", "Running")


@pytest.mark.parametrize(
    "workspace",
    [None, {"archive": {"s3": {"bucket": "files"}, "secretRef": {"name": "keys"}}}],
    ids=["conversation", "archive"],
)
@pytest.mark.requirement("H31", "K02")
def test_a_pod_with_the_last_copy_is_kept_and_serves_on_once_it_does(workspace: Json | None) -> None:
    on = awake(make_nap(**({"workspace": workspace} if workspace else {})))
    on.tell(durable=workspace is not None, store_problem="StoreUnreachable")
    on.settle()
    for times in range(LIMIT + 1):
        on.idle(10)
        crash(on, times)
    assert on.says("Stalled") == ("True", "BackoffLimitExceeded")
    assert "nowhere else" in on.message()
    assert on.pods() == [own_pod(1)]
    assert on.deletions() == 0
    on.idle(600)
    assert on.settle() == 0
    recover(on, LIMIT + 1)
    assert on.says() == ("True", "Running")


FAILED: Json = {
    "phase": Phase.FAILED,
    "fault": {"reason": "AgentNotStarted", "message": "The agent's process could not be started.", "time": NOW},
}
AWAY: Json = {"durable": False, "store_problem": "StoreUnreachable"}


@pytest.mark.requirement("H31", "K02")
@pytest.mark.parametrize("news", [[FAILED | AWAY], [AWAY, FAILED], [FAILED, AWAY]], ids=["at once", "then", "before"])
def test_a_process_that_failed_hides_nothing_of_a_conversation_that_is_not_stored(news: list[Json]) -> None:
    on = awake(make_nap(backoffLimit=0))
    on.idle(60)
    on.tell(durable=True)
    on.settle()
    for told in news:
        on.tell(**told)
        on.settle()
    assert on.says() == ("False", "CLIFailed")
    assert on.says("TranscriptDurable") == ("False", "StoreUnreachable")
    assert "StoreUnreachable" in on.events()
    on.idle(60)
    crash(on)
    assert on.says("Stalled") == ("True", "BackoffLimitExceeded")
    assert on.pods() == [own_pod(1)], "what is on its disk is nowhere else"


@pytest.mark.requirement("H31")
def test_a_store_that_was_mended_is_told_of_a_process_that_failed_too() -> None:
    on = awake()
    on.tell(**AWAY | FAILED)
    on.settle()
    on.tell(durable=True, store_problem=None)
    on.settle()
    assert on.says() == ("False", "CLIFailed")
    assert on.says("TranscriptDurable") == ("True", "TranscriptStored")


@pytest.mark.parametrize("workspace", [{}, {"archive": {"s3": {"bucket": "files"}, "secretRef": {"name": "keys"}}}])
def test_a_pod_that_never_had_the_session_has_nothing_to_lose(workspace: Json) -> None:
    on = awake(make_nap(workspace=workspace))
    on.idle(600)
    on.look()
    on.stores()
    on.settle()
    on.end_pods()
    on.ask()
    on.settle()
    for times in range(LIMIT + 1):
        on.idle(10)
        crash(on, times)
    assert on.says("Stalled") == ("True", "BackoffLimitExceeded")
    assert on.pods() == []


def test_after_a_healthy_while_the_count_begins_anew() -> None:
    on = awake()
    for times in range(3 * LIMIT):
        on.idle(600)
        crash(on, times)
        recover(on, times + 1)
        assert on.says() == ("True", "Running")
        assert on.session().status.failures == 1
    assert on.session().status.restarts == 3 * LIMIT


@pytest.mark.parametrize("limit", [0, 1, 5])
def test_the_limit_is_the_specs(limit: int) -> None:
    on = awake(make_nap(backoffLimit=limit))
    for times in range(limit):
        crash(on, times)
        assert on.pods() == [own_pod(1)]
    crash(on, limit)
    assert on.says("Stalled") == ("True", "BackoffLimitExceeded")


def test_pods_that_use_too_much_disk_again_and_again_end_as_stalled_too() -> None:
    on = awake()
    for _ in range(LIMIT + 1):
        (pod,) = on.world.live_pods()
        on.world.set_pod(pod, kubelet.evicted(kubelet.EVICTED_DISK))
        on.settle()
        while on.says()[1] == "HostLost":
            assert on.requeue is not None
            on.world.now += on.requeue
            on.settle()
        on.start_pods()
        on.settle()
    assert on.says("Stalled") == ("True", "BackoffLimitExceeded")
    assert on.session().status.last_termination is not None
    assert on.session().status.last_termination.reason == "EphemeralStorageExceeded"
    assert on.pods() == []


@pytest.mark.parametrize("status", [kubelet.evicted(), kubelet.node_lost(), kubelet.drained()])
def test_what_others_do_to_its_pods_is_never_held_against_it(status: Json) -> None:
    on = awake()
    for number in range(2 * LIMIT):
        (pod,) = on.world.live_pods()
        on.world.set_pod(pod, status)
        on.settle()
        for _ in range(10):
            if on.world.live_pods():
                break
            assert on.requeue is not None
            on.world.now += on.requeue
            on.settle()
        on.start_pods()
        on.settle()
        assert on.says() == ("True", "Running"), number
    found = on.session().status
    assert (found.failures, found.disruptions) == (0, 2 * LIMIT)
    assert found.last_termination is not None
    assert found.last_termination.reason in ("Evicted", "NodeLost")
    assert found.last_termination.in_place is None


@pytest.mark.requirement("K02")
@pytest.mark.parametrize("seen_before", [False, True])
def test_the_end_of_a_pod_has_its_exit_code_and_time_also_if_it_was_seen_to_come(seen_before: bool) -> None:
    on = awake()
    on.idle(60)
    (pod,) = on.world.pods()
    drain = kubelet.drained(143)
    if seen_before:
        conditions = [*pod["status"]["conditions"], *drain["conditions"]]
        on.world.set_pod(pod, pod["status"] | {"conditions": conditions})
        on.world.delete_gracefully(PODS, pod)
        on.settle()
        first = on.session().status.last_termination
        assert first is not None
        assert (first.reason, first.exit_code, first.finished_at) == ("Evicted", None, on.world.now)
    ended = on.world.now + timedelta(seconds=7)
    on.idle(10)
    drain["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = stamp(ended)
    on.world.set_pod(pod, drain | {"phase": "Failed"})
    on.settle()
    status = on.session().status
    assert status.last_termination is not None
    assert (status.last_termination.reason, status.last_termination.exit_code) == ("Evicted", 143)
    assert status.last_termination.finished_at == ended
    assert (status.disruptions, status.failures) == (1, 0)


@pytest.mark.requirement("K02")
def test_a_pod_of_whose_container_nothing_is_known_has_no_exit_code() -> None:
    on = awake()
    (pod,) = on.world.pods()
    on.world.set_pod(pod, kubelet.node_lost())
    on.settle()
    last = on.last_end()
    assert (last.reason, last.exit_code, last.finished_at) == ("NodeLost", None, on.world.now)


@pytest.mark.requirement("K02")
def test_a_loss_is_told_while_the_next_pod_is_refused() -> None:
    on = awake()
    on.idle(60)
    lost_at = on.world.now
    on.world.refusals["POST pods"] = "pods is forbidden: exceeded quota: small"
    on.lose(own_pod(1))
    for _ in range(5):
        on.look()
        on.idle(30)
    status = on.session().status
    assert on.says()[1] == "QuotaExceeded"
    assert (status.disruptions, status.restarts, status.wakes) == (1, 0, 1)
    assert status.last_termination is not None
    assert (status.last_termination.reason, status.last_termination.finished_at) == ("HostLost", lost_at)
    del on.world.refusals["POST pods"]
    on.settle()
    status = on.session().status
    assert (on.pods(), status.disruptions, status.restarts) == ([own_pod(2)], 1, 1)
    assert status.last_termination is not None
    assert status.last_termination.finished_at == lost_at, "not when the next one could be made"


@pytest.mark.requirement("K02", "H01")
def test_the_death_of_the_agents_process_is_told_by_its_host_and_written_once() -> None:
    on = awake()
    on.idle(60)
    died = {"reason": "AgentCrashed", "message": "The agent's process died.", "time": on.world.now, "exit_code": 137}
    on.tell(fault=died)
    assert on.settle() == 2, "a status and an event"
    last = on.last_end()
    assert (last.reason, last.finished_at, last.in_place) == ("CLIFailed", on.world.now, True)
    assert last.exit_code == 137
    assert on.says() == ("True", "Running")
    assert on.events() == ["CLIFailed"]
    on.idle(60)
    on.tell(last_activity_time=on.world.now)
    on.settle()
    assert on.events() == ["CLIFailed"]
    on.tell(fault=died | {"time": on.world.now})
    on.settle()
    assert on.events() == ["CLIFailed", "CLIFailed"]
    assert (on.session().status.restarts, on.session().status.failures) == (0, 0)


@pytest.mark.requirement("K02")
def test_a_death_that_a_turn_has_followed_before_anybody_looked_is_told_once_all_the_same() -> None:
    on = awake()
    on.idle(60)
    died = {"reason": "AgentCrashed", "message": "The agent's process died.", "time": on.world.now}
    on.tell(death=died, fault=None)
    on.settle()
    last = on.last_end()
    assert (last.reason, last.in_place) == ("CLIFailed", True)
    assert on.says() == ("True", "Running")
    on.idle(600)
    on.restart()
    on.hear()
    on.settle()
    assert on.events() == ["CLIFailed"]


@pytest.mark.requirement("K02")
@pytest.mark.parametrize("ahead", [0, 300], ids=["alike", "clock-ahead"])
def test_a_process_that_dies_in_a_pod_that_is_taken_away_is_no_other_end(ahead: float) -> None:
    on = awake()
    on.idle(60)
    (pod,) = on.world.pods()
    conditions = [*pod["status"]["conditions"], *kubelet.drained(143)["conditions"]]
    on.world.set_pod(pod, pod["status"] | {"conditions": conditions})
    on.world.delete_gracefully(PODS, pod)
    on.settle()
    on.idle(5)
    moment = on.world.now + timedelta(seconds=ahead)
    on.tell(fault={"reason": "AgentCrashed", "message": "The agent's process died.", "time": moment})
    assert on.settle() == 0
    status = on.session().status
    assert status.last_termination is not None
    assert (status.last_termination.reason, status.disruptions) == ("Evicted", 1)


@pytest.mark.requirement("K02")
def test_a_process_that_was_killed_for_memory_is_told_apart_and_counted_once() -> None:
    on = awake()
    on.idle(60)
    killed = {"reason": "AgentOomKilled", "message": "The agent's process was killed.", "time": on.world.now}
    on.tell(fault=killed, oom_kills=2)
    assert on.settle() == 2, "a status and an event"
    last = on.last_end()
    assert (last.reason, last.in_place) == ("OOMKilled", True)
    assert (on.session().status.oom_kills, on.session().status.restarts, on.session().status.failures) == (2, 0, 0)
    on.idle(60)
    on.tell(last_activity_time=on.world.now)
    on.settle()
    assert (on.events(), on.session().status.oom_kills) == (["OOMKilled"], 2)


def test_a_process_whose_host_counts_it_a_moment_later_is_counted_once() -> None:
    on = awake()
    on.tell(oom_kills=0, fault={"reason": "AgentOomKilled", "message": "Killed.", "time": on.world.now})
    on.settle()
    on.tell(oom_kills=1)
    on.settle()
    assert on.session().status.oom_kills == 1


@pytest.mark.requirement("K02")
def test_a_tool_that_was_killed_for_memory_is_counted_and_no_end_of_anything() -> None:
    on = awake()
    on.tell(oom_kills=0)
    assert on.settle() == 0
    on.tell(oom_kills=1)
    assert on.settle() == 2, "a status and an event"
    on.idle(60)
    on.tell(oom_kills=3)
    on.settle()
    status = on.session().status
    assert (status.oom_kills, status.last_termination, status.restarts) == (3, None, 0)
    assert on.events() == ["OOMKilled", "OOMKilled"]
    assert on.says() == ("True", "Running")
    crash(on, exit_code=137, reason="OOMKilled")
    on.settle()
    assert on.session().status.oom_kills == 4, "what it told before its end is counted already"
    recover(on, 1, exit_code=137, reason="OOMKilled")
    assert on.session().status.oom_kills == 4
    on.tell(oom_kills=1)
    on.settle()
    assert on.session().status.oom_kills == 5, "a container that began anew counts from none"


def test_on_a_host_of_many_the_death_of_its_own_process_is_what_counts() -> None:
    on = in_pool(replicas=1)
    on.ask()
    on.settle()
    on.hear()
    on.settle()
    on.idle(60)
    on.tell(fault={"reason": "AgentOomKilled", "message": "Killed.", "time": on.world.now})
    on.settle()
    assert on.session().status.oom_kills == 1
    assert on.settle() == 0


@pytest.mark.requirement("K02")
def test_a_pools_host_that_crashed_is_told_by_its_sessions_which_stay_without_a_limit() -> None:
    on = in_pool(replicas=1)
    on.world.set_pod(on.world.objects[PODS, NAMESPACE, "chat-0"], serving() | kubelet.restarted(7) | unready())
    on.world.set_pod(on.world.objects[PODS, NAMESPACE, "chat-0"], serving() | up(7))
    on.hear()
    on.settle()
    on.ask()
    on.settle()
    on.hear()
    on.settle()
    assert on.says() == ("True", "Running")
    assert on.session().status.restarts == 0, "what was before it came is not its own"
    for times in range(8, 8 + 2 * LIMIT):
        on.idle(10)
        on.world.set_pod(on.world.objects[PODS, NAMESPACE, "chat-0"], kubelet.crash_loop(times - 1) | unready())
        on.settle()
        on.world.set_pod(on.world.objects[PODS, NAMESPACE, "chat-0"], serving() | up(times))
        on.hear()
        on.settle()
        assert on.says() == ("True", "Running")
    status = on.session().status
    assert (status.restarts, status.failures) == (2 * LIMIT, 0)
    assert status.last_termination is not None
    assert (status.last_termination.reason, status.last_termination.pod) == ("HostCrashed", "chat-0")


def test_a_crash_of_a_pools_host_is_one_restart_also_if_it_comes_back_without_the_session() -> None:
    on = in_pool()
    on.settle()
    on.wake()
    host = on.session().status.host
    assert host is not None
    pod = on.world.objects[PODS, NAMESPACE, host.pod]
    for times in (1, 2):
        on.idle(60)
        on.world.set_pod(pod, kubelet.crash_loop(times - 1, at=on.world.now) | unready())
        for held in on.hosts.held.values():
            held.clear()
        cut(on)
        on.settle()
        assert on.says() == ("False", "HostNotReady")
        on.world.set_pod(pod, serving() | up(times))
        on.hear()
        on.settle()
        assert on.says() == ("True", "Running")
        assert on.session().status.restarts == times


def up(times: int) -> Json:
    """The container runs after so many ends."""
    return {"containerStatuses": kubelet.restarted(times)["containerStatuses"]}
