"""The operator as a process: probes, metrics, logs, and a stop that cuts nothing off."""

import time

import pytest

from e2e.api import PODS, Api
from e2e.lab import Lab, gated
from e2e.manifests import say
from e2e.operator_pod import NAMESPACE, Operator, Sample
from e2e.waiting import eventually


def _value(samples: list[Sample], name: str, **labels: str) -> float:
    """Return the sum of the samples with these labels."""
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


@pytest.mark.requirement("K01")
def test_probes_answer(operator: Operator) -> None:
    """Liveness and readiness."""
    assert operator.fetch("/healthz") == "ok\n"
    assert operator.fetch("/readyz") == "ok\n"


@pytest.mark.requirement("K05")
def test_metrics_tell_of_a_session(lab: Lab) -> None:
    """Counted once, at the moment it finished."""
    before = lab.operator.metrics()
    usage = {"input": 1000, "output": 10}
    found = lab.run(steps=({"text": "done", "usage": usage},))
    own = {"namespace": lab.namespace}
    # The operator counts what it hears of its own write.
    after = eventually(
        lab.operator.metrics,
        lambda all_: _value(all_, "agentsessions_sessions", reason="Completed", **own) == 1,
        "a session that is Completed",
    )

    def gained(name: str, **labels: str) -> float:
        return _value(after, name, **labels) - _value(before, name, **labels)

    assert gained("agentsessions_turns_total", **own) == 1
    assert gained("agentsessions_tokens_total", kind="input", **own) == 1000
    assert gained("agentsessions_cost_dollars_total", **own) == float(found["status"]["usage"]["costUsd"])
    assert gained("agentsessions_session_duration_seconds_count", outcome="succeeded") == 1
    assert gained("agentsessions_session_start_duration_seconds_count") == 1
    assert _value(after, "agentsessions_build_info") == 1


@pytest.mark.requirement("K01")
def test_the_watches_are_audited(operator: Operator) -> None:
    """Every half minute the operator holds its watches against the API server's lists; nothing stays behind."""
    samples = operator.metrics()
    assert time.time() - _value(samples, "agentsessions_watch_last_audit_timestamp_seconds") < 120
    behind = [s for s in samples if s.name == "agentsessions_watch_objects_behind"]
    watched = {"agentsessions", "pods", "agenttemplates", "agentpools", "statefulsets", "hosts", "networkpolicies"}
    assert {s.labels["resource"] for s in behind} == watched

    def late() -> float:
        return _value(operator.metrics(), "agentsessions_watch_objects_behind")

    # An audit in the middle of an event, or of a start, finds objects behind; the next one must not.
    eventually(late, lambda count: count == 0, "watches that have delivered everything", 100)


@pytest.mark.requirement("K01")
def test_the_log_is_json_and_tells_every_state(lab: Lab) -> None:
    """One object a line, with namespace, name and state of a session that changed."""
    lab.run()

    def told() -> list[str]:
        lines = [line for line in lab.operator.log_lines() if line["message"] == "session changed"]
        return [line["state"] for line in lines if line["namespace"] == lab.namespace]

    # The line follows the write of the status that `run` has waited for.
    states = eventually(told, lambda states: states[-1:] == ["Completed"], "the line of the end")
    assert states[0] == "Starting"


@pytest.mark.requirement("K01")
@pytest.mark.ends_operator
def test_it_stops_when_told_and_goes_on_where_it_was(lab: Lab, api: Api) -> None:
    """Exit code 0 within its grace period; the sessions do not notice."""
    lab.start(steps=(gated(), say("unharmed")))
    pod = lab.running()
    name = lab.operator.pod()["metadata"]["name"]
    lab.operator.keep_evidence()
    version = api.request("GET", PODS.path(NAMESPACE))["metadata"]["resourceVersion"]
    api.delete(PODS, NAMESPACE, name)
    code = None
    watched = {"fieldSelector": f"metadata.name={name}", "resourceVersion": version}
    for event, seen in api.watch(PODS, NAMESPACE, 90, **watched):
        for container in seen["status"].get("containerStatuses", []):
            code = container["state"].get("terminated", {}).get("exitCode", code)
        if event == "DELETED":
            break
    assert code == 0
    lab.operator.wait_ready()
    lab.open_gate(pod)
    assert lab.succeeded()["status"]["restarts"] == 0
