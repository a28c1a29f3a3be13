"""The health checks for Argo CD and Flux, run on the very conditions that the operator writes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cel_expr_python import cel
from cel_expr_python.ext import ext_optional
from lupa.lua51 import LuaRuntime

from agentsessions.api.base import API_VERSION
from agentsessions.api.conditions import Reason, State, conditions_for
from agentsessions.api.config import OperatorConfig
from agentsessions.api.pool import AgentPool
from agentsessions.policies.hosts import HostFacts
from agentsessions.policies.startup import Diagnosis
from agentsessions.reconcile.pools.model import PoolSeen
from agentsessions.reconcile.pools.plan import make_plan

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "gitops"
ARGO = {
    State.PROGRESSING: "Progressing",
    State.RUNNING: "Healthy",
    State.ASLEEP: "Healthy",
    State.SUCCEEDED: "Healthy",
    State.BLOCKED: "Degraded",
    State.FAILED: "Degraded",
}
FLUX = {
    State.PROGRESSING: "inProgress",
    State.RUNNING: "current",
    State.ASLEEP: "current",
    State.SUCCEEDED: "current",
    State.BLOCKED: "failed",
    State.FAILED: "failed",
}
KINDS = ("AgentSession", "AgentPool")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
CONFIG = OperatorConfig.model_validate({"defaults": {"modelEndpoint": {"baseUrl": "http://model.example.com"}}})
Json = dict[str, Any]


def session(state: State, *, generation: int = 2, observed: int = 2) -> Json:
    """Return a session in this state, as the API server would give it."""
    conditions = conditions_for(state, "Why", "in words", previous=[], generation=observed, now=NOW)
    status = {"observedGeneration": observed, "conditions": [condition.to_json() for condition in conditions]}
    return {"metadata": {"generation": generation}, "spec": {}, "status": status}


def argo(resource: Json) -> tuple[str, str]:
    """Return status and message of Argo CD's check."""
    lua = LuaRuntime()
    lua.globals().obj = lua.table_from(resource, recursive=True)
    result = lua.execute((FOLDER / "health.lua").read_text())
    return str(result["status"]), str(result["message"])


def pool(*, wanted: int = 2, ready: int = 2, generation: int = 2, observed: int = 2, **more: Any) -> Json:
    """Return a pool with such hosts and the status that the operator plans for it, as the API server would give it."""
    uid = "7c1b9f0e-3a55-4a53-8f0a-9b0a7f3b2d11"
    meta = {"name": "chat", "namespace": "team-a", "uid": uid, "creationTimestamp": "2026-01-02T00:00:00Z"}
    spec = {"replicas": wanted} | more.pop("spec", {})
    body = AgentPool.model_validate({"metadata": meta | {"generation": observed}, "spec": spec})
    current = make_plan(PoolSeen(body), NOW, CONFIG).status.template_hash or ""
    hosts = [HostFacts(f"chat-{n}", f"u{n}", "10.0.0.1", ready=n < ready, template_hash=current) for n in range(wanted)]
    status = make_plan(PoolSeen(body, hosts=hosts, **more), NOW, CONFIG).status
    return {"metadata": meta | {"generation": generation}, "spec": spec, "status": status.to_json()}


def flux(resource: Json, kind: str = "AgentSession") -> str:
    """Return which of Flux's expressions holds for a kind, in the order in which Flux asks them."""
    checks = yaml.safe_load((FOLDER / "flux-kustomization.yaml").read_text())["spec"]["healthCheckExprs"]
    (check,) = [one for one in checks if (one["apiVersion"], one["kind"]) == (API_VERSION, kind)]
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
@pytest.mark.parametrize(
    ("made", "expected"),
    [
        pytest.param(pool(), ("Healthy", "current", "Available"), id="all-ready"),
        pytest.param(pool(wanted=0), ("Healthy", "current", "Available"), id="none-wanted"),
        pytest.param(pool(ready=1), ("Progressing", "inProgress", "RollingOut"), id="one-missing"),
        pytest.param(pool(ready=0), ("Progressing", "inProgress", "NoReadyHost"), id="none-ready"),
        pytest.param(pool(spec={"hostMemory": "1Mi"}), ("Degraded", "failed", "InvalidSpec"), id="impossible"),
        pytest.param(
            pool(ready=0, trouble=Diagnosis(State.BLOCKED, Reason.IMAGE_PULL_FAILED, "no such image")),
            ("Degraded", "failed", "ImagePullFailed"),
            id="in-trouble",
        ),
        pytest.param(pool(generation=3), ("Progressing", "inProgress", ""), id="spec-just-changed"),
        pytest.param(
            pool(spec={"hostMemory": "1Mi"}, generation=3), ("Progressing", "inProgress", ""), id="just-mended"
        ),
    ],
)
def test_argo_cd_and_flux_read_a_pool(made: Json, expected: tuple[str, str, str]) -> None:
    health, name, reason = expected
    status, message = argo(made)
    assert (status, flux(made, "AgentPool")) == (health, name)
    assert message.startswith(f"{reason}: " if reason else "Waiting")


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
@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_has_looked_at_is_in_progress(kind: str, status: Json) -> None:
    fresh = {"metadata": {"generation": 1}, "spec": {}, "status": status}
    assert argo(fresh)[0] == "Progressing"
    assert flux(fresh, kind) == "inProgress"


def test_argo_cd_takes_a_session_without_status() -> None:
    assert argo({"metadata": {"generation": 1}})[0] == "Progressing"


def test_the_config_map_carries_the_script() -> None:
    data = yaml.safe_load((FOLDER / "argocd-cm.yaml").read_text())["data"]
    script = (FOLDER / "health.lua").read_text()
    assert data == {f"resource.customizations.health.agentsessions.dev_{kind}": script for kind in KINDS}


def test_flux_is_told_of_every_kind_that_has_conditions() -> None:
    checks = yaml.safe_load((FOLDER / "flux-kustomization.yaml").read_text())["spec"]["healthCheckExprs"]
    assert [(check["apiVersion"], check["kind"]) for check in checks] == [(API_VERSION, kind) for kind in KINDS]
