"""A pod that is taken away from outside, by a drain or by hand: the session goes on, and nobody holds it against it."""

from collections.abc import Callable

import pytest

from e2e.api import PODS, Api, condition
from e2e.killing import evict
from e2e.lab import Lab, gated
from e2e.manifests import say


def _delete(api: Api, namespace: str, pod: str) -> None:
    """Delete a pod as a person does."""
    api.delete(PODS, namespace, pod)


@pytest.mark.requirement("K02")
@pytest.mark.parametrize(
    ("take_away", "reason"),
    [
        pytest.param(evict, "Evicted", id="drained"),
        pytest.param(_delete, "Interrupted", id="deleted"),
    ],
)
def test_a_pod_that_is_taken_away_is_no_failure(
    lab: Lab, api: Api, take_away: Callable[[Api, str, str], None], reason: str
) -> None:
    """No failure is allowed here, and yet another attempt follows; what the first one used is counted."""
    lab.start(steps=(gated(), say("done")), backoffLimit=0)
    first = lab.at_gate()
    take_away(api, lab.namespace, first)
    lab.until("task", lambda thing: thing["status"]["restarts"] == 1, "another attempt")
    second = lab.at_gate()
    assert second != first
    lab.open_gate(second)
    found = lab.succeeded()
    status = found["status"]
    assert (status["restarts"], status["failures"]) == (1, 0)
    assert status["lastTermination"]["reason"] == reason
    assert status["lastTermination"]["pod"] == first
    assert condition(found, "Succeeded")["reason"] == "Completed"
    assert lab.model_requests(found) == 3
    assert status["usage"]["outputTokens"] > 0
    assert [life.attempt for life in lab.witness.of(found["metadata"]["uid"])] == [0, 1]
