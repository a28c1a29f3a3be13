"""Attempts: a failure that may pass is followed by another one, a finished turn is never paid for twice."""

import pytest

from e2e.api import PODS, condition
from e2e.lab import Lab, gated
from e2e.manifests import bash, say
from e2e.waiting import wait_for

CRASH = "kill -9 $PPID; sleep 60"
"""Ends the CLI, whose child the tool's shell is."""


@pytest.mark.requirement("K02")
def test_a_crash_is_retried_in_the_same_session(lab: Lab) -> None:
    """The volume remembers that the first attempt was there; session id and transcript are the same."""
    once = f"[ -e crashed ] || {{ touch crashed; {CRASH}; }}; echo survived"
    found = lab.run(steps=(bash(once), say("done")), workspace={"storage": "64Mi"})
    status = found["status"]
    assert condition(found, "Succeeded")["status"] == "True", status
    assert (status["restarts"], status["failures"]) == (1, 1)
    assert status["lastTermination"]["reason"] == "AgentCrashed"
    assert status["sessionId"] == found["metadata"]["uid"]
    assert lab.model_requests(found) >= 2
    assert [life.attempt for life in lab.witness.of(found["metadata"]["uid"])] == [0, 1]
    assert lab.event("task", "AgentCrashed")["note"]


@pytest.mark.requirement("K02")
def test_the_backoff_limit_ends_it(lab: Lab) -> None:
    """Two retries after the first failure, and no more."""
    found = lab.run(steps=(bash(CRASH), say("never")), backoffLimit=2)
    status = found["status"]
    assert condition(found, "Succeeded")["status"] == "False"
    assert condition(found, "Stalled")["status"] == "True"
    assert (status["restarts"], status["failures"]) == (2, 3)
    assert status["lastTermination"]["reason"] == "AgentCrashed"
    assert len(lab.witness.of(found["metadata"]["uid"])) == 3


@pytest.mark.requirement("K02")
def test_never_means_never(lab: Lab) -> None:
    """`restartPolicy: Never` is one attempt at most."""
    found = lab.run(steps=(bash(CRASH), say("never")), restartPolicy="Never")
    assert found["status"]["restarts"] == 0
    assert found["status"]["failures"] == 1
    assert condition(found, "Ready")["reason"] == "AgentCrashed"
    assert len(lab.witness.of(found["metadata"]["uid"])) == 1


@pytest.mark.requirement("K02")
@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        pytest.param(401, "authentication_error", "ModelAuthenticationFailed", id="key refused"),
        pytest.param(400, "invalid_request_error", "ModelRequestRejected", id="request refused"),
    ],
)
def test_what_cannot_pass_is_not_retried(lab: Lab, status: int, kind: str, reason: str) -> None:
    """Another attempt would be refused in the same way, and cost time."""
    found = lab.run(steps=({"error": {"status": status, "type": kind}},))
    assert condition(found, "Ready")["reason"] == reason
    assert found["status"]["restarts"] == 0


@pytest.mark.requirement("K02")
def test_a_passing_error_of_the_model_is_no_failure(lab: Lab) -> None:
    """The CLI itself asks again."""
    found = lab.run(steps=({"error": {"status": 529, "times": 2}}, say("at last")))
    assert found["status"]["result"]["text"] == "at last"
    assert found["status"]["failures"] == 0


@pytest.mark.requirement("H10", "K02")
@pytest.mark.ends_operator
def test_a_finished_turn_is_not_paid_for_twice(lab: Lab) -> None:
    """The pod ends while there is no operator, and is gone before one comes back: the volume still knows the answer."""
    started = lab.start(steps=(gated(), say("paid once")), workspace={"storage": "64Mi"})
    pod = lab.at_gate()
    with lab.operator.stopped():
        lab.open_gate(pod)
        wait_for(lab.api, PODS, lab.namespace, pod, _has_succeeded, "the end of the agent")
        paid = lab.model_requests(started)
        lab.api.delete(PODS, lab.namespace, pod)
        lab.gone(PODS, pod)
    found = lab.succeeded()
    assert paid == 2
    assert lab.model_requests(found) == paid
    assert found["status"]["result"]["text"] == "paid once"
    assert found["status"]["usage"]["turns"] == 2
    assert (found["status"]["restarts"], found["status"]["failures"]) == (1, 0)
    assert found["status"]["lastTermination"]["reason"] == "PodDeleted"


def _has_succeeded(pod: dict[str, object] | None) -> bool:
    """Return whether the pod has ended well."""
    status = (pod or {}).get("status", {})
    return isinstance(status, dict) and status.get("phase") == "Succeeded"
