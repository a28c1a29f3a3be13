"""Sessions by kubectl and by GitOps controllers: apply is idempotent, the operator never touches what users wrote."""

import re

import pytest

from e2e import manifests
from e2e.access import may
from e2e.api import SESSIONS, Api, Json, condition
from e2e.lab import Lab


@pytest.mark.requirement("K04")
def test_applying_the_same_manifest_twice_is_no_change(lab: Lab) -> None:
    """Neither the second apply nor the operator writes anything."""
    manifest = manifests.session(lab.namespace, limits={"activeDeadlineSeconds": 600})
    lab.terminal.apply(manifest)
    settled = lab.succeeded()
    for pod in lab.pods(settled):
        lab.gone_pod(pod)
    lab.terminal.apply(manifest)
    lab.run("later")  # the operator has had its turn with whatever the second apply caused
    again = lab.session()
    assert again["metadata"]["resourceVersion"] == settled["metadata"]["resourceVersion"]
    assert again["metadata"]["generation"] == 1


@pytest.mark.requirement("K04")
def test_a_removed_field_goes_back_to_its_default(lab: Lab) -> None:
    """And one without a default goes away; nobody else owns a field of the spec."""
    lab.api.create(manifests.quota(lab.namespace, pods=0))
    rich = manifests.session(lab.namespace, backoffLimit=7, ttlSecondsAfterFinished=900, podRetentionPolicy="Retain")
    lab.terminal.apply(rich)
    spec = lab.reason("task", "QuotaExceeded")["spec"]
    assert (spec["backoffLimit"], spec["ttlSecondsAfterFinished"], spec["podRetentionPolicy"]) == (7, 900, "Retain")
    lab.terminal.apply(manifests.session(lab.namespace))
    found = lab.session()
    assert (found["spec"]["backoffLimit"], found["spec"]["podRetentionPolicy"]) == (3, "Delete")
    assert "ttlSecondsAfterFinished" not in found["spec"]
    assert _spec_owners(found) == {"somebody"}
    lab.until("task", lambda thing: thing["status"]["observedGeneration"] == 2, "a look at the new generation")


def _spec_owners(thing: Json) -> set[str]:
    """Return the field managers that own something in the spec."""
    return {entry["manager"] for entry in thing["metadata"]["managedFields"] if "f:spec" in entry["fieldsV1"]}


@pytest.mark.requirement("K04")
def test_the_operator_writes_nothing_but_status(lab: Lab) -> None:
    """No annotation, no label, no finalizer: nothing for a GitOps controller to see as drift."""
    found = lab.run()
    meta = found["metadata"]
    assert [key for key in ("annotations", "labels", "finalizers", "ownerReferences") if key in meta] == []
    owned = {e["manager"]: sorted(e["fieldsV1"]) for e in meta["managedFields"]}
    assert owned == {"somebody": ["f:spec"], "agentsessions-status": ["f:status"]}


@pytest.mark.requirement("K04")
def test_kubectl_wait_hears_of_success(lab: Lab) -> None:
    """`--for=condition=Succeeded` returns when the session has."""
    lab.terminal.apply(manifests.session(lab.namespace))
    said = lab.terminal.kubectl(
        "wait", "asess/task", "-n", lab.namespace, "--for=condition=Succeeded", "--timeout=120s"
    )
    assert "condition met" in said
    assert condition(lab.session(), "Succeeded")["status"] == "True"


@pytest.mark.requirement("K04")
def test_kubectl_wait_hears_of_failure(lab: Lab) -> None:
    """A session that cannot go on is Stalled, which is what kstatus calls failed."""
    lab.terminal.apply(manifests.session(lab.namespace, templateRef={"name": "absent"}))
    words = ("wait", "asess/task", "-n", lab.namespace, "--for=condition=Stalled", "--timeout=120s")
    assert "condition met" in lab.terminal.kubectl(*words)
    assert condition(lab.session(), "Stalled")["reason"] == "TemplateNotFound"


@pytest.mark.requirement("K04")
def test_the_table_shows_what_matters(lab: Lab) -> None:
    """Pattern, readiness with reason, turns and cost; where it ran with `-o wide`."""
    found = lab.run(agent={"model": "claude-sonnet-5-5"})
    lines = lab.terminal.kubectl("get", "agentsessions", "-n", lab.namespace).splitlines()
    assert lines[0].split() == ["NAME", "PATTERN", "READY", "REASON", "TURNS", "COST", "AGE"]
    assert re.match(r"task +Ephemeral +True +Completed +1 +0\.\d+ +\d+s", lines[1]), lines[1]
    wide = lab.terminal.kubectl("get", "asess", "-n", lab.namespace, "-o", "wide").splitlines()
    host = found["status"]["host"]
    assert wide[1].split()[6:9] == ["claude-sonnet-5-5", host["pod"], host["node"]]


@pytest.mark.requirement("K04")
def test_describe_shows_the_events(lab: Lab) -> None:
    """A person's first look at a session that is stuck says why."""
    lab.terminal.apply(manifests.session(lab.namespace, templateRef={"name": "absent"}))
    lab.reason("task", "TemplateNotFound")
    lab.event("task", "TemplateNotFound")
    said = lab.terminal.kubectl("describe", "asess", "task", "-n", lab.namespace)
    events = said[said.index("Events:") :]
    assert re.search(r"Warning +TemplateNotFound .*AgentTemplate 'absent'", events), events


@pytest.mark.requirement("K04")
def test_editors_may_edit_and_viewers_may_view(api: Api, lab: Lab) -> None:
    """The chart adds the kinds to the cluster's own edit and view roles."""
    for role in ("edit", "view"):
        words = ("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}or")
        lab.terminal.kubectl(*words, "-n", lab.namespace)
    allowed = {
        (user, verb, resource): may(api, user, verb, resource, namespace=lab.namespace)
        for user in ("editor", "viewor", "nobody")
        for verb in ("get", "create", "delete")
        for resource in ("agentsessions", "agenttemplates")
    }
    yes = {key for key, value in allowed.items() if value}
    kinds = ("agentsessions", "agenttemplates")
    editing = {("editor", verb, kind) for verb in ("get", "create", "delete") for kind in kinds}
    assert yes == editing | {("viewor", "get", kind) for kind in kinds}
    assert not may(api, "editor", "patch", "agentsessions", namespace=lab.namespace, subresource="status")


@pytest.mark.requirement("K04")
def test_deleting_by_kubectl_returns_when_it_is_gone(lab: Lab) -> None:
    """kubectl waits for finalizers; there are none."""
    lab.run()
    lab.terminal.kubectl("delete", "asess", "task", "-n", lab.namespace, "--timeout=60s")
    assert lab.api.get(SESSIONS, lab.namespace, "task") is None
