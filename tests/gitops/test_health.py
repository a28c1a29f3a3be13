"""The health checks for Argo CD and Flux, run on the very conditions that the operator writes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cel_expr_python import cel
from cel_expr_python.ext import ext_optional
from lupa.lua51 import LuaRuntime

from agentsessions.api.conditions import State, conditions_for

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "gitops"
ARGO = {
    State.PROGRESSING: "Progressing",
    State.RUNNING: "Healthy",
    State.SUCCEEDED: "Healthy",
    State.BLOCKED: "Degraded",
    State.FAILED: "Degraded",
}
FLUX = {
    State.PROGRESSING: "inProgress",
    State.RUNNING: "current",
    State.SUCCEEDED: "current",
    State.BLOCKED: "failed",
    State.FAILED: "failed",
}
Json = dict[str, Any]


def session(state: State, *, generation: int = 2, observed: int = 2) -> Json:
    """Return a session in this state, as the API server would give it."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    conditions = conditions_for(state, "Why", "in words", previous=[], generation=observed, now=now)
    status = {"observedGeneration": observed, "conditions": [condition.to_json() for condition in conditions]}
    return {"metadata": {"generation": generation}, "spec": {}, "status": status}


def argo(resource: Json) -> tuple[str, str]:
    """Return status and message of Argo CD's check."""
    lua = LuaRuntime()
    lua.globals().obj = lua.table_from(resource, recursive=True)
    result = lua.execute((FOLDER / "health.lua").read_text())
    return str(result["status"]), str(result["message"])


def flux(resource: Json) -> str:
    """Return which of Flux's expressions holds, in the order in which Flux asks them."""
    (check,) = yaml.safe_load((FOLDER / "flux-kustomization.yaml").read_text())["spec"]["healthCheckExprs"]
    for name in ("inProgress", "failed", "current"):
        if holds(check[name], resource):
            return name
    return "inProgress"


def holds(expression: str, resource: Json) -> bool:
    """Evaluate a CEL expression on the fields of a resource."""
    env = cel.NewEnv(variables=dict.fromkeys(resource, cel.Type.DYN), extensions=[ext_optional.ExtOptional()])
    return bool(env.compile(expression).eval(data=resource).value())


def test_every_state_has_an_expectation() -> None:
    assert set(ARGO) == set(FLUX) == set(State)


@pytest.mark.requirement("K04")
@pytest.mark.parametrize("state", State)
def test_argo_cd_reads_the_state(state: State) -> None:
    assert argo(session(state)) == (ARGO[state], "Why: in words")


@pytest.mark.requirement("K04")
@pytest.mark.parametrize("state", State)
def test_flux_reads_the_state(state: State) -> None:
    assert flux(session(state)) == FLUX[state]


@pytest.mark.parametrize("state", State)
def test_a_status_of_an_older_spec_counts_as_in_progress(state: State) -> None:
    old = session(state, observed=1)
    assert argo(old)[0] == "Progressing"
    assert flux(old) == "inProgress"


@pytest.mark.parametrize("status", [{}, {"conditions": []}])
def test_a_session_that_nobody_has_looked_at_is_in_progress(status: Json) -> None:
    fresh = {"metadata": {"generation": 1}, "spec": {}, "status": status}
    assert argo(fresh)[0] == "Progressing"
    assert flux(fresh) == "inProgress"


def test_argo_cd_takes_a_session_without_status() -> None:
    assert argo({"metadata": {"generation": 1}})[0] == "Progressing"


def test_the_config_map_carries_the_script() -> None:
    data = yaml.safe_load((FOLDER / "argocd-cm.yaml").read_text())["data"]
    assert data == {
        "resource.customizations.health.agentsessions.dev_AgentSession": (FOLDER / "health.lua").read_text()
    }
