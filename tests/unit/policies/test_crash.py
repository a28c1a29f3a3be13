"""How containers end that are started again where they were."""

from datetime import timedelta

import pytest

from agentsessions.api.base import Json
from agentsessions.api.host import EXIT_CLI
from agentsessions.policies.crash import judge_end
from agentsessions.policies.facts import Ended
from agentsessions.policies.hosts import host_facts
from agentsessions.policies.startup import PodWarning
from unit import kubelet
from unit.make import NOW, later, make_pod

LIVENESS = "Container agent failed liveness probe, will be restarted"
STARTUP = "Container agent failed startup probe, will be restarted"


def ended(exit_code: int = 1, reason: str = "Error", message: str = "") -> Ended:
    """Return the end of a container that ran for half a minute."""
    return Ended(exit_code, reason, message, NOW, later(-30))


def killing(message: str = LIVENESS, seconds: float = -2) -> PodWarning:
    """Return the kubelet's word that it ends the container."""
    return PodWarning("Killing", message, later(seconds))


@pytest.mark.requirement("K02")
@pytest.mark.parametrize(
    ("end", "killings", "reason", "counts", "text"),
    [
        pytest.param(ended(137, "OOMKilled"), [], "OOMKilled", True, "resources.memory", id="out-of-memory"),
        pytest.param(ended(1), [], "HostCrashed", True, "exit code 1.", id="crash"),
        pytest.param(ended(137), [], "HostCrashed", True, "SIGKILL", id="killed"),
        pytest.param(ended(EXIT_CLI), [], "HostCrashed", True, "does not start", id="cli-does-not-start"),
        pytest.param(ended(0, "Completed"), [], "HostCrashed", True, "exit code 0", id="left-by-itself"),
        pytest.param(ended(0, "Completed"), [killing()], "ProbeFailed", True, "liveness", id="probe-and-obedience"),
        pytest.param(ended(137), [killing(STARTUP)], "ProbeFailed", True, "startup", id="probe-and-kill"),
        pytest.param(ended(1), [killing("Stopping container agent")], "HostCrashed", True, "", id="another-killing"),
        pytest.param(ended(1), [killing(seconds=-31)], "HostCrashed", True, "", id="a-killing-of-an-earlier-life"),
        pytest.param(ended(1), [killing(seconds=11)], "HostCrashed", True, "", id="a-killing-of-a-later-life"),
        pytest.param(ended(128, "StartError", "no such file"), [], "StartFailed", True, "no such file", id="no-start"),
        pytest.param(ended(255, "Unknown"), [], "PodStopped", False, "started anew", id="node-was-rebooted"),
        pytest.param(ended(137, "ContainerStatusUnknown"), [], "PodStopped", False, "lost track", id="unknown"),
    ],
)
def test_each_cause_is_told_apart(end: Ended, killings: list[PodWarning], reason: str, counts: bool, text: str) -> None:
    found = judge_end("nap-1", end, killings)
    assert (found.reason, found.counts) == (reason, counts)
    assert text in found.message


@pytest.mark.parametrize(
    ("status", "times"),
    [
        pytest.param(kubelet.pending(), 0, id="pending"),
        pytest.param(kubelet.creating(), 0, id="creating"),
        pytest.param(kubelet.running(), 0, id="running"),
        pytest.param(kubelet.ended(1), 1, id="ended-and-not-started-again-yet"),
        pytest.param(kubelet.restarted(1), 1, id="started-again"),
        pytest.param(kubelet.crash_loop(1), 2, id="ended-again-and-waits"),
        pytest.param(kubelet.restarted(2), 2, id="started-again-after-the-wait"),
    ],
)
def test_an_end_is_counted_before_the_kubelet_does_and_once(status: Json, times: int) -> None:
    found = host_facts(make_pod().with_status(status).json())
    assert found.ends == times
    assert (found.last_end is not None) is (times > 0)


def test_when_the_container_had_started_is_known_of_its_last_life() -> None:
    found = host_facts(make_pod().with_status(kubelet.restarted(3, 137, "OOMKilled")).json())
    assert found.last_end == Ended(137, "OOMKilled", "", NOW, NOW - timedelta(seconds=30))
