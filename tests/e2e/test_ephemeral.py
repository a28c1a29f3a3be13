"""An Ephemeral session from create to finished: a real agent, a real tool call, and a status that tells all of it."""

from decimal import Decimal

import pytest

from e2e.api import PODS, SESSIONS, condition
from e2e.lab import Lab, gated
from e2e.manifests import TOOL_RESULT, bash, say

_USAGE = {"input": 1000, "output": 50}


@pytest.mark.requirement("H01", "H10", "K01")
def test_an_agent_works_in_its_pod_and_the_status_tells(lab: Lab) -> None:
    """The answer quotes a file that one tool call wrote and another read, so both ran in one workspace."""
    steps = (
        {"tool": "Write", "input": {"file_path": "/workspace/poem.txt", "content": "roses"}, "usage": _USAGE},
        {**bash("tr a-z A-Z < poem.txt; echo; pwd; id -u; hostname"), "usage": _USAGE},
        {"text": f"It says: {TOOL_RESULT}", "usage": _USAGE},
    )
    started = lab.start(steps=steps, agent={"model": "claude-sonnet-5-5"})
    found = lab.succeeded()
    status = found["status"]
    words = status["result"]["text"].split()
    assert words == ["It", "says:", "ROSES", "/workspace", "10001", status["host"]["pod"]]
    assert status["result"]["truncated"] is False
    assert status["sessionId"] == started["metadata"]["uid"]
    assert status["usage"]["turns"] == 3
    assert status["usage"]["inputTokens"] == 3000
    assert status["usage"]["outputTokens"] == 150
    assert Decimal(status["usage"]["costUsd"]) > 0
    assert status["startTime"] <= status["completionTime"]
    assert status["host"]["node"]
    assert status["observedGeneration"] == found["metadata"]["generation"]
    assert lab.model_requests(found) == 3


@pytest.mark.requirement("K02", "K04")
def test_conditions_follow_the_table(lab: Lab) -> None:
    """kstatus, Flux, Argo CD and `kubectl wait` read these; abnormal conditions are absent when there is nothing."""
    lab.start(steps=(gated(), say("done")))
    pod = lab.running()
    assert _conditions(lab) == {"Ready": "True", "Active": "True", "Succeeded": "Unknown"}
    lab.open_gate(pod)
    lab.succeeded()
    assert _conditions(lab) == {"Ready": "True", "Active": "False", "Succeeded": "True"}
    assert condition(lab.session(), "Ready")["reason"] == "Completed"


def _conditions(lab: Lab) -> dict[str, str]:
    """Return type and status of the session's conditions."""
    return {c["type"]: c["status"] for c in lab.session()["status"]["conditions"]}


@pytest.mark.requirement("H10")
def test_the_pod_goes_when_the_task_is_done(lab: Lab) -> None:
    """One container for one task, destroyed on completion."""
    found = lab.run()
    lab.gone(PODS, found["status"]["host"]["pod"])
    assert lab.pods(found) == []


@pytest.mark.requirement("H10")
def test_a_retained_pod_stays_and_shows_its_log(lab: Lab) -> None:
    """`podRetentionPolicy: Retain` keeps the pod for its log until the session goes."""
    steps = (bash("echo spoken-by-the-tool"), say("spoken-by-the-agent"))
    found = lab.run("kept", steps=steps, podRetentionPolicy="Retain", contentLogging="Include")
    other = lab.run("other")
    lab.gone(PODS, other["status"]["host"]["pod"])
    (pod,) = lab.pods(found)
    assert pod["status"]["phase"] == "Succeeded"
    log = lab.terminal.kubectl("logs", "-n", lab.namespace, pod["metadata"]["name"])
    assert "spoken-by-the-agent" in log


@pytest.mark.requirement("H10")
def test_a_session_with_a_time_to_live_deletes_itself(lab: Lab) -> None:
    """And everything that belongs to it; one without stays."""
    lab.run("stays")
    found = lab.run(ttlSecondsAfterFinished=3)
    lab.gone(SESSIONS, "task")
    lab.without_children(found)
    assert lab.session("stays")


@pytest.mark.requirement("H10")
def test_the_answer_can_follow_a_schema(lab: Lab) -> None:
    """`agent.outputSchema` gives a structured answer in status, beside the text."""
    schema = {"type": "object", "properties": {"verdict": {"type": "string"}}, "required": ["verdict"]}
    steps = ({"tool": "StructuredOutput", "input": {"verdict": "fine"}}, say("fine"))
    found = lab.run(steps=steps, agent={"outputSchema": schema})
    assert found["status"]["result"]["structured"] == {"verdict": "fine"}


@pytest.mark.requirement("H10")
def test_a_long_answer_is_cut_and_says_so(lab: Lab) -> None:
    """A termination message has 4096 bytes; the session still succeeds."""
    found = lab.run(steps=({"text": {"$repeat": "long ", "times": 4000}},))
    result = found["status"]["result"]
    assert condition(found, "Succeeded")["status"] == "True"
    assert result["truncated"] is True
    assert result["text"].startswith("long long ")


@pytest.mark.requirement("H20", "H23")
def test_the_pod_is_locked_down_and_bounded(lab: Lab) -> None:
    """Pod Security "restricted" enforces part of it; the rest is looked at from outside and from inside."""
    probe = "touch /usr/x 2>&1 | tail -c 22; ls /var/run/secrets 2>&1 | wc -l; grep -h CapEff /proc/self/status"
    lab.start(steps=(bash(probe), {"text": TOOL_RESULT}), podRetentionPolicy="Retain")
    found = lab.succeeded()
    (pod,) = lab.pods(found)
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "5Gi"}
    assert container["resources"]["requests"] == {"cpu": "250m", "memory": "1Gi", "ephemeral-storage": "5Gi"}
    said = found["status"]["result"]["text"]
    assert "Read-only file system" in said
    assert "CapEff:\t0000000000000000" in said
    owner = pod["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("AgentSession", found["metadata"]["uid"], True)
