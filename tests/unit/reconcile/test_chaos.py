"""Anything may happen at any time: nodes, users, crashes, lost answers. What must hold, holds after every step."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from agentsessions.api.base import Json
from agentsessions.api.status import AgentSessionStatus
from agentsessions.kube.paths import PODS, SESSIONS, Kind
from unit import kubelet
from unit.interrupted import NUMBERS, Interrupted, at_request
from unit.kstatus import kstatus
from unit.make import NAMESPACE, make_report, make_session
from unit.operator_at_work import Operator, start_world
from unit.world import World, attempt_of

BACKOFF_LIMIT = 2
REPORTED = {"turns": 1, "costUsd": "0.5"}
RUNNING_STEPS = {
    "create": kubelet.creating(),
    "pull-fails": kubelet.creating("ErrImagePull"),
    "run": kubelet.running(),
}
ENDS = {
    "succeed": kubelet.ended(0, message=make_report(usage=REPORTED, result={"text": "4 files"})),
    "fail": kubelet.ended(1, message=make_report("Failed", "ModelUnavailable", retryable=True, usage=REPORTED)),
    "fail-for-good": kubelet.ended(64, message=make_report("Failed", "MaxTurnsExceeded", usage=REPORTED)),
    "crash": kubelet.ended(1),
    "out-of-memory": kubelet.ended(137, reason="OOMKilled", message=make_report("Running", "Running", usage=REPORTED)),
    "evict": kubelet.evicted(),
    "drain": kubelet.drained(message=make_report("Failed", "Interrupted", retryable=True, usage=REPORTED)),
    "deadline": kubelet.deadline_exceeded(),
    "lose-node": kubelet.node_lost(),
}


class Session(Interrupted):
    """One session in a hostile world."""

    world: World
    operator: Operator

    @initialize(
        restart=st.sampled_from(["OnFailure", "OnFailure", "Never"]),
        storage=st.booleans(),
        retention=st.sampled_from(["Delete", "Retain"]),
    )
    def begin(self, restart: str, storage: bool, retention: str) -> None:
        maker = make_session().with_spec(
            restart_policy=restart, backoff_limit=BACKOFF_LIMIT, pod_retention_policy=retention
        )
        self.world, self.operator = start_world(maker.with_storage("1Gi") if storage else maker)
        self.world.put_template(image="first")
        self.world.on_delete = self.judge_deletion
        self.reports = 0
        self.finished: Json | None = None
        self.restarts = 0

    # The operator

    @rule()
    def look(self) -> None:
        self.operator.try_to_look()

    @rule(number=NUMBERS, step=st.sampled_from(["run", *ENDS]))
    def look_while_a_node_is_at_work(self, number: int, step: str) -> None:
        self.at_request(number, "before", lambda: self.node_step(step))

    @rule(number=NUMBERS)
    def look_while_a_user_deletes_the_pod(self, number: int) -> None:
        self.at_request(number, "before", self.user_deletes_pod)

    @rule()
    def hear_of_deleted_pods(self) -> None:
        self.operator.hear()

    @rule(seconds=st.sampled_from([1, 10, 60, 600]))
    def time_passes(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    # The world

    @rule(step=st.sampled_from([*RUNNING_STEPS, *ENDS]))
    def node_step(self, step: str) -> None:
        for pod in list(self.world.live_pods()):
            if step in RUNNING_STEPS and pod["status"]["phase"] == "Running":
                continue  # what runs does not go back to waiting
            self.report(pod, {**RUNNING_STEPS, **ENDS}[step])
            return

    @rule()
    def node_lets_go_of_deleted_pods(self) -> None:
        for pod in list(self.world.pods()):
            if "deletionTimestamp" in pod["metadata"]:
                if pod in self.world.live_pods() and pod["status"]["phase"] == "Pending":
                    self.report(pod, kubelet.never_started())
                elif pod in self.world.live_pods():
                    self.report(pod, kubelet.ended(143))
                else:
                    self.world.remove(PODS, NAMESPACE, pod["metadata"]["name"])

    @rule()
    def user_deletes_pod(self) -> None:
        for pod in list(self.world.pods()):
            self.world.delete_gracefully(PODS, pod)

    @rule()
    def user_deletes_pod_by_force(self) -> None:
        for pod in list(self.world.pods()):
            self.world.remove(PODS, NAMESPACE, pod["metadata"]["name"])

    @rule(image=st.sampled_from(["first", "second"]))
    def user_changes_the_template(self, image: str) -> None:
        self.world.put_template(image=image)

    @rule()
    def user_touches_the_session(self) -> None:
        self.world.edit(SESSIONS, "hello", ttlSecondsAfterFinished=None)

    @rule()
    def nothing_else_happens(self) -> None:
        """In a world that stands still a few passes are enough, and one more writes nothing."""
        self.operator.hear()
        self.operator.settle()

    @precondition(lambda self: self.finished is None)
    @rule()
    def all_is_calm_at_last(self) -> None:
        """Whatever happened, once nothing is in the way the session comes to its end."""
        for _ in range(60):
            self.operator.hear()
            self.operator.try_to_look()
            self.node_lets_go_of_deleted_pods()
            self.node_step("run")
            self.node_step("succeed")
            self.world.now += max(self.operator.requeue or timedelta(), timedelta(seconds=1))
            if self.status.completion_time is not None:
                return
        raise AssertionError("the session never ends")

    # What must hold

    @invariant()
    def at_most_one_pod_is_alive(self) -> None:
        assert len(self.world.live_pods()) <= 1

    @invariant()
    def finished_stays_finished(self) -> None:
        status = self.status
        if self.finished is not None:
            now = status.model_dump(exclude={"observed_generation"})
            assert now == self.finished
        elif status.completion_time is not None:
            self.finished = status.model_dump(exclude={"observed_generation"})
            assert {c.type: c.status for c in status.conditions}["Succeeded"] in ("True", "False")
            assert status.is_true("Succeeded") == (status.result is not None)

    @invariant()
    def failures_are_bounded_and_attempts_only_grow(self) -> None:
        status = self.status
        assert status.failures <= BACKOFF_LIMIT + 1
        assert status.restarts >= self.restarts
        self.restarts = status.restarts

    @invariant()
    def every_status_is_whole(self) -> None:
        status, body = self.status, self.world.of(SESSIONS)[0]
        if "status" in body:
            assert status.condition("Ready") is not None
            assert not (status.is_true("Reconciling") and status.is_true("Stalled"))
            assert kstatus(body) in ("InProgress", "Current", "Failed")

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        usage = self.status.usage
        if usage is not None:
            assert usage.turns <= self.reports

    def judge_deletion(self, kind: Kind, body: Json) -> None:
        """A pod that ended may be deleted by the operator only when its end stands in status."""
        if kind == PODS and body["status"]["phase"] in ("Succeeded", "Failed"):
            status = self.status
            assert attempt_of(body) < status.restarts or status.completion_time is not None

    # Means

    @property
    def status(self) -> AgentSessionStatus:
        return self.world.session().status

    def report(self, pod: Json, status: Json) -> None:
        """Let the node report; count what the agent reports with it."""
        shifted = kubelet.shifted(status, self.world.now)
        self.world.set_pod(pod, shifted)
        if "turns" in str(status):
            self.reports += 1

    def at_request(self, number: int, moment: str, what: Callable[[], Any]) -> None:
        """Reconcile, with something happening at a request, counted from 0."""
        with at_request(self.world, number, moment, what):
            self.operator.try_to_look()


TestSession = Session.TestCase
TestSession.settings = settings(max_examples=80, stateful_step_count=40)
