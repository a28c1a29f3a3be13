"""The API server saturates first, so writes are counted: by the API server's own metrics, not by ours."""

import asyncio
import time
from collections import Counter

import pytest

from e2e import audit
from e2e.api import EVENTS, NAMESPACES, PODS, SESSIONS, Api, Json
from e2e.audit import AuditLog, Key
from e2e.gateway import Gateway
from e2e.lab import Lab, gated
from e2e.manifests import say
from e2e.stage import Stage
from e2e.waiting import wait_for

SESSIONS_AT_ONCE = 10
BUDGET = 5
"""Writes per cold session from create to finished."""

_CORE = ""
_GROUP = "agentsessions.dev"
_CREATED_BY_US = "agentsessions.dev/operator"


@pytest.fixture(autouse=True)
def _alone(api: Api) -> None:
    """Wait until the namespaces of earlier tests are gone: clearing them is counted by the API server too."""
    for namespace in api.list(NAMESPACES):
        if "deletionTimestamp" in namespace["metadata"]:
            wait_for(api, NAMESPACES, None, namespace["metadata"]["name"], lambda thing: thing is None, "its end")


def _ours(before: Counter[Key], after: Counter[Key], events: int) -> dict[str, int]:
    """Return the writes in between that only the operator makes here; events by their reporter."""
    delta = after - before
    status = [count for key, count in delta.items() if key[:3] == (_GROUP, "agentsessions", "status")]
    return {
        "sessions": sum(n for k, n in delta.items() if k[:3] == (_GROUP, "agentsessions", "") and k[3] != "APPLY"),
        "session status": sum(status),
        "pods created": delta[_CORE, "pods", "", "POST"],
        "pods deleted": delta[_CORE, "pods", "", "DELETE"],
        "secrets": sum(n for k, n in delta.items() if k[:3] == (_CORE, "secrets", "")),
        "claims": sum(n for k, n in delta.items() if k[:3] == (_CORE, "persistentvolumeclaims", "")),
        "policies": sum(n for k, n in delta.items() if k[:2] == ("networking.k8s.io", "networkpolicies")),
        "events": events,
    }


@pytest.mark.requirement("K01", "K02")
def test_a_cold_session_costs_at_most_five_writes(lab: Lab, api: Api, audit_log: AuditLog | None) -> None:
    """Refused and repeated writes count too. The finished pod's deletion comes after the end, and is counted apart.

    A kubelet may delete what we have just deleted, is told 404, and is counted by the API server; not by its audit log.
    """
    first = lab.run("first")  # its policy serves all that follow, see below
    lab.gone(PODS, first["status"]["host"]["pod"])
    mark = audit_log.mark() if audit_log else 0
    before = audit.request_totals(api)
    names = [f"task-{number}" for number in range(SESSIONS_AT_ONCE)]
    for name in names:
        lab.start(name)
    found = [lab.succeeded(name) for name in names]
    for session in found:
        lab.gone(PODS, session["status"]["host"]["pod"])
    writes = _ours(before, audit.request_totals(api), _events(lab))
    print(f"writes for {SESSIONS_AT_ONCE} sessions: {writes}")
    deleted = writes.pop("pods deleted")
    assert writes["policies"] == 0
    assert SESSIONS_AT_ONCE <= deleted <= 2 * SESSIONS_AT_ONCE
    assert sum(writes.values()) <= BUDGET * SESSIONS_AT_ONCE, writes
    if audit_log:
        _check_each(audit_log.since(mark, lab.namespace), found)


def _events(lab: Lab) -> int:
    """Return how many events the operator has posted in the namespace."""
    return len([e for e in lab.api.list(EVENTS, lab.namespace) if e["reportingController"] == _CREATED_BY_US])


def _check_each(entries: list[Json], sessions: list[Json]) -> None:
    """Hold the budget against every single session, by the audit log, which tells who wrote what."""
    for session in sessions:
        name = session["metadata"]["name"]
        about = [e for e in entries if _is_about(e, name)]
        ends = [e for e in about if e["verb"] == "delete"]
        assert len(ends) == 1, [audit.describe(e) for e in ends]
        assert len(about) - len(ends) <= BUDGET, [audit.describe(e) for e in about]


def _is_about(entry: Json, name: str) -> bool:
    """Return whether a write was about a session or a child of it."""
    target = entry["objectRef"].get("name", "")
    return bool(target == name or target.startswith(f"{name}-"))


@pytest.mark.requirement("K01")
def test_the_first_session_of_a_namespace_makes_the_shared_policy(lab: Lab, api: Api) -> None:
    """One write more than those that follow it."""
    before = audit.request_totals(api)
    found = lab.run()
    lab.gone(PODS, found["status"]["host"]["pod"])
    writes = _ours(before, audit.request_totals(api), _events(lab))
    assert writes["policies"] == 1
    assert sum(writes.values()) - writes["policies"] - writes["pods deleted"] <= BUDGET, writes


@pytest.mark.requirement("K01", "K02")
async def test_a_session_that_is_talked_to_costs_a_write_a_minute_at_most(lab: Lab, gateway: Gateway) -> None:
    stage = Stage.built(lab, gateway)
    await asyncio.to_thread(lambda: stage.pool(replicas=1, sessionsPerHost=1))
    stage.session("chatty")
    await asyncio.to_thread(stage.running, "chatty")
    version, began = lab.session("chatty")["metadata"]["resourceVersion"], time.monotonic()
    for number in range(10):
        await stage.client("chatty").say(say(f"answer {number}"))
    took = time.monotonic() - began
    query = {"resourceVersion": version, "fieldSelector": "metadata.name=chatty"}
    seen = await asyncio.to_thread(lambda: list(lab.api.watch(SESSIONS, lab.namespace, 3, **query)))
    assert len([event for event, _ in seen if event == "MODIFIED"]) <= 1 + took // 60
    found = await asyncio.to_thread(
        lab.until, "chatty", lambda s: s["status"].get("usage", {}).get("turns") == 10, "all of its turns", 120
    )
    assert float(found["status"]["usage"]["costUsd"]) > 0
    assert found["status"]["lastActivityTime"]


@pytest.mark.requirement("K02")
def test_a_running_session_costs_no_writes(lab: Lab) -> None:
    """Nothing changes, so nothing is written: not even while other sessions come and go."""
    lab.start("long", steps=(gated(), say("done")))
    pod = lab.at_gate("long")
    version = lab.session("long")["metadata"]["resourceVersion"]
    lab.run("short")
    lab.run("another")
    assert lab.session("long")["metadata"]["resourceVersion"] == version
    lab.open_gate(pod)
    lab.succeeded("long")
