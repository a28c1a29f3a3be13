"""The number of operators is raised and lowered while sessions run: two never work beside each other."""

from collections.abc import Iterator

import pytest

from e2e import install
from e2e.api import DEPLOYMENTS, LEASES, Json
from e2e.audit import AuditLog
from e2e.lab import Lab, gated
from e2e.leadership import check_turns, holder, started_during
from e2e.manifests import say
from e2e.operator_pod import NAMESPACE, RELEASE
from e2e.sizes import THOROUGH
from e2e.waiting import wait_for


def _leader(lab: Lab) -> str:
    """Wait until one of those that are there to stay leads, and return its pod."""
    names = [one["metadata"]["name"] for one in lab.operator.pods()]
    return holder(wait_for(lab.api, LEASES, NAMESPACE, RELEASE, lambda one: holder(one) in names, "a leader"))


@pytest.fixture
def values(lab: Lab) -> Iterator[Json]:
    """The values of the release with one operator, which it has again afterwards."""
    chosen = install.values(lab.images)
    yield chosen
    if len(lab.operator.pods()) != 1:
        install.install_operator(lab.terminal, lab.operator, chosen)


@pytest.mark.requirement("K01", "K02")
@pytest.mark.ends_operator
@pytest.mark.parametrize("how", ["helm upgrade", "kubectl scale"])
@pytest.mark.skipif(not THOROUGH, reason="takes two minutes; test_leadership has the way up, by helm upgrade")
def test_one_becomes_two_and_one_again_and_never_do_two_write(
    how: str, lab: Lab, values: Json, audit_log: AuditLog | None
) -> None:
    """By the audit log: whoever has written once another did writes nothing more."""
    mark = audit_log.mark() if audit_log else 0
    alone = _leader(lab)
    lab.start("before", steps=(gated(), say("done")))
    pod = lab.at_gate("before")
    lab.operator.keep_evidence()
    names = started_during(lab, lambda: _set_replicas(lab, 2, how, values))
    lab.operator.wait_ready()
    assert len(lab.operator.pods()) == 2
    assert (_leader(lab) == alone) == (how == "kubectl scale"), "a scaled Deployment keeps its pod, and that its lead"
    lab.open_gate(pod)
    for name in ("before", *names):
        assert lab.succeeded(name)["status"]["restarts"] == 0
    lab.operator.keep_evidence()
    _set_replicas(lab, 1, how, values)
    lab.operator.wait_ready()
    lab.run("after", steps=(say("done"),))
    if audit_log:
        check_turns(audit_log.since(mark, lab.namespace), alone)


def _set_replicas(lab: Lab, count: int, how: str, values: Json) -> None:
    """Have as many operators."""
    if how == "helm upgrade":
        install.upgrade(lab.terminal, values | {"replicas": count})
    else:
        lab.api.patch(DEPLOYMENTS, NAMESPACE, RELEASE, {"spec": {"replicas": count}})
