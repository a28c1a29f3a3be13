"""Limits are real: memory, disk, time and turns end an agent, alone, and the status says which."""

import pytest

from e2e.api import NODES, PODS, condition
from e2e.lab import Lab, gated
from e2e.manifests import TOOL_RESULT, bash, say

_EATER = "python3 -c \"import time; x = bytearray({mb} * 2**20); x[::4096] = b'1' * len(x[::4096]); time.sleep({s})\""


@pytest.mark.requirement("H20", "H50", "K02")
def test_an_agent_that_eats_memory_is_killed_alone(lab: Lab) -> None:
    """Many small processes, so that the kernel's victim is the biggest: the CLI. Its neighbours on the node live on."""
    node = lab.api.list(NODES)[0]["metadata"]["labels"]["kubernetes.io/hostname"]
    place = {"kubernetes.io/hostname": node}
    lab.neighbour(nodeSelector=place)
    lab.start("bystander", steps=(gated(), say("unharmed")), nodeSelector=place)
    bystander = lab.running("bystander")
    eat = f"for i in 1 2 3 4 5 6 7 8 9 10 11 12; do {_EATER.format(mb=60, s=300)} & done; wait"
    steps = (bash(eat), say("never"))
    found = lab.run("eater", steps=steps, resources={"memory": "640Mi"}, backoffLimit=1, nodeSelector=place)
    status = found["status"]
    assert condition(found, "Succeeded")["status"] == "False"
    assert status["lastTermination"]["reason"] == "OOMKilled"
    assert "resources.memory" in status["lastTermination"]["message"]
    assert (status["restarts"], status["failures"]) == (1, 2)
    assert status["oomKills"] >= 2
    neighbour = lab.api.get(PODS, lab.namespace, "neighbour")
    assert neighbour is not None
    assert neighbour["status"]["phase"] == "Running"
    assert neighbour["status"]["containerStatuses"][0]["restartCount"] == 0
    lab.open_gate(bystander)
    assert lab.succeeded("bystander")["status"]["restarts"] == 0


@pytest.mark.requirement("H20", "K02")
def test_a_tool_that_eats_memory_is_reported_while_the_agent_lives(lab: Lab) -> None:
    """One big process is the victim itself; the agent sees its tool fail and goes on. Status still counts it."""
    steps = (bash(f"{_EATER.format(mb=1500, s=1)}; echo code $?"), {"text": TOOL_RESULT})
    found = lab.run(steps=steps, resources={"memory": "640Mi"})
    assert condition(found, "Succeeded")["status"] == "True"
    assert "code 137" in found["status"]["result"]["text"]
    assert found["status"]["oomKills"] == 1


@pytest.mark.requirement("H50")
def test_the_deadline_ends_a_session(lab: Lab) -> None:
    """A session never times out by itself; the wall clock is the operator's."""
    found = lab.run(steps=(gated(), say("never")), limits={"activeDeadlineSeconds": 12})
    assert condition(found, "Ready")["reason"] == "DeadlineExceeded"
    assert condition(found, "Stalled")["status"] == "True"
    assert "activeDeadlineSeconds" in condition(found, "Ready")["message"]
    assert found["status"]["restarts"] == 0
    lab.gone(PODS, found["status"]["host"]["pod"])


@pytest.mark.requirement("H10", "H50")
def test_turns_are_bounded(lab: Lab) -> None:
    """Three are allowed; the fourth never happens, and what was used is still told."""
    steps = tuple(bash(f"echo {number} >> turns; wc -l < turns") for number in range(8))
    found = lab.run(steps=steps, agent={"maxTurns": 3})
    assert condition(found, "Ready")["reason"] == "MaxTurnsExceeded"
    assert condition(found, "Succeeded")["status"] == "False"
    assert found["status"]["restarts"] == 0
    assert lab.model_requests(found) == 3
    assert found["status"]["usage"]["turns"] >= 3
    assert float(found["status"]["usage"]["costUsd"]) > 0


@pytest.mark.requirement("H20", "K02")
def test_disk_over_the_limit_is_evicted_and_reported(lab: Lab) -> None:
    """The node measures now and then, so this takes up to two minutes."""
    fill = "dd if=/dev/zero of=/workspace/big bs=1M count=400 2>&1; sleep 600"
    found = lab.run(
        steps=(bash(fill, timeout=600_000), say("never")),
        resources={"ephemeralStorage": "128Mi"},
        restartPolicy="Never",
    )
    assert condition(found, "Ready")["reason"] == "EphemeralStorageExceeded"
    assert condition(found, "Succeeded")["status"] == "False"
    assert "128Mi" in condition(found, "Ready")["message"]
