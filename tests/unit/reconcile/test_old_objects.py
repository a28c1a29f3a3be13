"""What earlier versions stored is read whole, and the operator of now does nothing to it that nobody asked for."""

from datetime import datetime

import pytest

import history
from agentsessions.api.base import Json
from agentsessions.api.pool import AgentPool
from agentsessions.api.session import AgentSession
from agentsessions.api.template import AgentTemplate
from agentsessions.kube.paths import PODS, SESSIONS
from agentsessions.reconcile.loop import Reconciler
from agentsessions.reconcile.observe import DeletedPods
from unit.hybrid import Stage
from unit.make import CONFIG
from unit.operator_at_work import finish
from unit.world import Request

STORED = history.stored()
AT_REST = frozenset({"Completed", "DeadlineExceeded", "PodDeleted", "Asleep", "Suspended"})


def name(one: Json) -> str:
    """Return a test's name."""
    return f"{one['object']['spec']['pattern']}-{history.told(one['object'])}"


def lives(pod: Json) -> bool:
    """Return whether a pod has not ended."""
    return pod["status"]["phase"] not in ("Succeeded", "Failed")


def look(one: Json) -> tuple[list[Request], Json]:
    """Have the operator of now look at a session, when its status had just been written; return writes and status."""
    on, meta = Stage(), one["object"]["metadata"]
    conditions = one["object"]["status"]["conditions"]
    on.world.now = max(datetime.fromisoformat(condition["lastTransitionTime"]) for condition in conditions)
    for kind, body in [(SESSIONS, one["object"]), *((PODS, pod) for pod in one["pods"])]:
        on.world.objects[kind, body["metadata"]["namespace"], body["metadata"]["name"]] = body
    key, lasting = (meta["namespace"], meta["name"]), on.lasting
    pass_ = Reconciler(on.world, CONFIG, DeletedPods(), "t", lambda: on.world.now, lasting, lasting.admission)  # type: ignore[arg-type]
    finish(pass_.reconcile(key))
    found = on.world.peek(SESSIONS, *key)
    assert found is not None
    status: Json = found["status"]
    return list(on.world.writes()), status


def said(status: Json) -> Json:
    """Return what a status says, without the one field that is the gateway's, in a form of its own."""
    return {key: value for key, value in status.items() if value not in (None, [], {}) and key != "lastRequestTime"}


@pytest.mark.requirement("K01")
@pytest.mark.parametrize("one", STORED, ids=name)
def test_a_stored_session_is_read_and_nothing_of_its_status_is_lost(one: Json) -> None:
    session = AgentSession.model_validate(one["object"])
    read = session.status.to_json()
    wanted = said(one["object"]["status"])
    assert {key: read.get(key) for key in wanted} == wanted


@pytest.mark.parametrize("manifest", history.examples(), ids=lambda one: one["metadata"]["name"])
def test_the_first_examples_are_read(manifest: Json) -> None:
    models = {"AgentSession": AgentSession, "AgentTemplate": AgentTemplate, "AgentPool": AgentPool}
    meta = {"namespace": "n", "uid": "u", "creationTimestamp": "2026-05-04T12:00:00Z", **manifest["metadata"]}
    read = models[manifest["kind"]].model_validate(manifest | {"metadata": meta})
    assert manifest["spec"].keys() <= read.spec.to_json().keys()


@pytest.mark.requirement("K01", "K02")
@pytest.mark.parametrize("one", [one for one in STORED if history.told(one["object"]) in AT_REST], ids=name)
def test_who_is_at_rest_is_left_alone(one: Json) -> None:
    """But for the pod of one that has finished or fallen asleep, which goes once that is recorded."""
    writes, status = look(one)
    assert [write for write in writes if (write.verb, write.plural) != ("DELETE", "pods")] == []
    assert status == one["object"]["status"]


@pytest.mark.requirement("K01", "K02")
@pytest.mark.parametrize("one", [one for one in STORED if any(lives(pod) for pod in one["pods"])], ids=name)
def test_who_has_a_pod_keeps_it_and_gets_no_other(one: Json) -> None:
    writes, status = look(one)
    assert [write for write in writes if write.plural == "pods" and write.verb in ("POST", "DELETE")] == []
    assert status.get("restarts") == one["object"]["status"].get("restarts")
