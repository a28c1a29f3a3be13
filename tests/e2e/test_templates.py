"""What a session does not say comes from its template, then from the chart, then from what is built in."""

import pytest

from e2e import manifests
from e2e.install import BASE_URL, CHART_MAX_TURNS
from e2e.lab import Lab
from e2e.manifests import TOOL_RESULT, bash


@pytest.mark.requirement("K01", "H23")
def test_a_session_that_says_nothing_runs_by_the_chart_and_the_built_in(lab: Lab) -> None:
    """`status.resolved` says what was merged."""
    resolved = lab.run()["status"]["resolved"]
    assert "template" not in resolved
    assert resolved["maxTurns"] == CHART_MAX_TURNS
    assert resolved["modelBaseUrl"] == BASE_URL
    assert (resolved["cpu"], resolved["memory"], resolved["ephemeralStorage"]) == ("1", "1Gi", "5Gi")
    assert resolved["activeDeadlineSeconds"] == 3600


@pytest.mark.requirement("K01")
def test_session_over_template_over_chart(lab: Lab) -> None:
    """Objects merge by key, at every depth; lists and scalars are replaced."""
    env = [{"name": "A", "value": "template"}, {"name": "B", "value": "template"}]
    agent = {"maxTurns": 7, "model": "claude-haiku-5-5"}
    lab.api.apply(manifests.template(lab.namespace, "small", agent=agent, resources={"memory": "768Mi"}, env=env))
    found = lab.run(
        steps=(bash("echo A=$A B=$B"), {"text": TOOL_RESULT}),
        templateRef={"name": "small"},
        agent={"model": "claude-sonnet-5-5"},
        resources={"cpu": "500m"},
        env=[{"name": "A", "value": "session"}],
    )
    resolved = found["status"]["resolved"]
    assert resolved["template"] == "small"
    assert (resolved["maxTurns"], resolved["model"]) == (7, "claude-sonnet-5-5")
    assert (resolved["cpu"], resolved["memory"], resolved["ephemeralStorage"]) == ("500m", "768Mi", "5Gi")
    assert found["status"]["result"]["text"].strip() == "A=session B="


@pytest.mark.requirement("K01")
def test_the_template_called_default_serves_sessions_that_name_none(lab: Lab) -> None:
    """Its namespace's sessions only; one that is named wins over it."""
    lab.api.apply(manifests.template(lab.namespace, "default", agent={"maxTurns": 5}))
    lab.api.apply(manifests.template(lab.namespace, "other", agent={"maxTurns": 6}))
    lab.start("silent")
    lab.start("naming", templateRef={"name": "other"})
    silent, naming = lab.succeeded("silent"), lab.succeeded("naming")
    assert (silent["status"]["resolved"]["template"], silent["status"]["resolved"]["maxTurns"]) == ("default", 5)
    assert (naming["status"]["resolved"]["template"], naming["status"]["resolved"]["maxTurns"]) == ("other", 6)


@pytest.mark.requirement("K01")
def test_agent_options_reach_the_agent(lab: Lab) -> None:
    """An agent without the Bash tool cannot be made to use it."""
    steps = (bash("echo never > /workspace/never"), {"text": TOOL_RESULT})
    found = lab.run(steps=steps, agent={"tools": ["Read"]})
    assert "No such tool" in found["status"]["result"]["text"]


@pytest.mark.requirement("H10")
def test_a_workspace_with_storage_is_a_claim_of_its_own(lab: Lab) -> None:
    """`workspace.storage` gives a volume that outlives the pod and goes with the session."""
    steps = (bash("echo kept > note; stat -c %U:%G . >/dev/null; cat note"), {"text": TOOL_RESULT})
    found = lab.run(steps=steps, workspace={"storage": "64Mi"})
    assert found["status"]["result"]["text"].strip() == "kept"
    assert found["status"]["resolved"]["storage"] == "64Mi"
    assert len(lab.children(found)["persistentvolumeclaims"]) == 1
