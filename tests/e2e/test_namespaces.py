"""A namespace always ends, whatever its sessions are at, with the operator and without."""

import pytest

from e2e import manifests
from e2e.api import NAMESPACES, condition
from e2e.lab import Lab, gated
from e2e.manifests import bash, say
from e2e.waiting import wait_for

_IN_ALL_STATES = {
    "running": "Running",
    "finished": "Completed",
    "failed": "MaxTurnsExceeded",
    "pulling": "ImagePullFailed",
    "orphan": "TemplateNotFound",
    "crowded": "Unschedulable",
    "asleep": "Asleep",
    "hosted": "Running",
}


def _fill(lab: Lab) -> None:
    """Make a session for every state and wait until it is in it."""
    lab.start("running", steps=(gated(), say("never")), workspace={"storage": "64Mi"}, terminationGracePeriodSeconds=3)
    lab.start("finished", podRetentionPolicy="Retain")
    lab.start("failed", steps=(bash("true"), bash("true")), agent={"maxTurns": 1}, podRetentionPolicy="Retain")
    lab.start("pulling", image="agentsessions.dev/absent:dev")
    lab.start("orphan", templateRef={"name": "absent"})
    lab.start("crowded", resources={"cpu": "900"})
    lab.api.apply(manifests.hybrid(lab.namespace, "asleep", sessionStore={"type": "Embedded"}))
    lab.api.apply(manifests.pool(lab.namespace))
    lab.api.apply(manifests.lasting(lab.namespace, "hosted"))
    for name, reason in _IN_ALL_STATES.items():
        lab.until(name, lambda s, want=reason: condition(s, "Ready").get("reason") == want, f"reason {reason}")  # type: ignore[misc]


def _end(lab: Lab) -> None:
    """Delete the namespace and wait until it is gone."""
    lab.api.delete(NAMESPACES, None, lab.namespace)
    wait_for(lab.api, NAMESPACES, None, lab.namespace, lambda n: n is None, "the end of the namespace")


@pytest.mark.requirement("K01", "K02")
def test_a_namespace_with_sessions_in_all_states_ends(lab: Lab) -> None:
    """The operator sees it going and makes nothing new in it."""
    _fill(lab)
    _end(lab)


@pytest.mark.requirement("K01", "K02")
@pytest.mark.ends_operator
def test_a_namespace_ends_without_the_operator(lab: Lab) -> None:
    """No finalizer waits for somebody who is not there, nor for a session that nobody has seen yet."""
    _fill(lab)
    with lab.operator.stopped():
        lab.api.create(manifests.session(lab.namespace, "unseen"))
        _end(lab)
