"""Objects that were stored under the first CRDs live on under those of now: read, changed, and their status written."""

import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

import history
from e2e.api import CRDS, NAMESPACES, Api, Json, Resource, condition
from e2e.install import ROOT
from e2e.manifests import namespace
from e2e.waiting import eventually, wait_for

_GROUP = "agentsessions.dev"
_OWN_GROUP = "history.agentsessions.dev"
"""The real one is in use; nothing in a schema or a rule knows the name of its group."""


@dataclass(frozen=True)
class Upgraded:
    """A group with the first CRDs, and a namespace."""

    api: Api
    namespace: str

    def path(self, thing: Json, name: str = "") -> str:
        """Return the path of an object, or of its kind."""
        kind = Resource(f"{_OWN_GROUP}/v1alpha1", f"{thing['kind'].lower()}s")
        return kind.path(self.namespace, name or None)

    def store(self, thing: Json, number: int) -> Json:
        """Create an object under another name, and write its status."""
        name = f"{thing['metadata']['name']}-{number}"
        meta = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": f"{_OWN_GROUP}/v1alpha1", "kind": thing["kind"], "metadata": meta, "spec": thing["spec"]}
        made = self.api.request("POST", self.path(thing), body=body)
        return self.patch(made, {"status": thing["status"]}, "/status") if "status" in thing else made

    def patch(self, thing: Json, change: Json, part: str = "") -> Json:
        """Merge a change into an object, or into its status."""
        path = self.path(thing, thing["metadata"]["name"]) + part
        return self.api.request("PATCH", path, body=change, kind="application/merge-patch+json")

    def read(self, thing: Json) -> Json:
        """Return an object as it is now."""
        return self.api.request("GET", self.path(thing, thing["metadata"]["name"]))

    def define(self, crds: list[Json]) -> None:
        """Apply CRDs in the group of this test, and wait until they are served as they are."""
        for crd in crds:
            own = json.loads(json.dumps(crd).replace(f".{_GROUP}", f".{_OWN_GROUP}"))
            own["spec"]["group"] = _OWN_GROUP
            own["metadata"] = {"name": own["metadata"]["name"]}
            self.api.apply(own, force="true")
            wait_for(self.api, CRDS, None, own["metadata"]["name"], _is_established, "its establishment")


def _is_established(crd: Json | None) -> bool:
    return crd is not None and condition(crd, "Established").get("status") == "True"


def _is_within(old: Any, new: Any) -> bool:
    """Return whether all of an old value is in a new one, which may have defaults besides."""
    if isinstance(old, dict):
        return all(key in new and _is_within(value, new[key]) for key, value in old.items())
    return bool(old == new)


def _now() -> list[Json]:
    return [yaml.safe_load(file.read_text()) for file in sorted((ROOT / "crds").glob("*.yaml"))]


@pytest.fixture
def upgraded(api: Api) -> Iterator[Upgraded]:
    """The group with the first CRDs; afterwards none of it is left."""
    found = Upgraded(api, f"e2e-{secrets.token_hex(4)}")
    with ExitStack() as undo:
        api.create(namespace(found.namespace))
        undo.callback(api.delete, NAMESPACES, None, found.namespace)
        for crd in history.crds():
            undo.callback(api.delete, CRDS, None, crd["metadata"]["name"].replace(_GROUP, _OWN_GROUP))
        found.define(history.crds())
        yield found


@pytest.mark.requirement("K01")
def test_what_was_stored_under_the_first_crds_lives_on_under_those_of_now(upgraded: Upgraded) -> None:
    of_first_pattern = [one["object"] for one in history.stored() if one["object"]["spec"]["pattern"] == "Ephemeral"]
    old = [upgraded.store(one, number) for number, one in enumerate([*history.examples(), *of_first_pattern])]
    upgraded.define(_now())
    known = {**old[0], "metadata": {"name": "of-now"}}

    def knows_new_fields() -> bool:
        body = {key: known[key] for key in ("apiVersion", "kind", "metadata", "spec")}
        spec = {**body["spec"], "disruption": "Safe"}
        made = upgraded.api.request("POST", upgraded.path(known), query={"dryRun": "All"}, body=body | {"spec": spec})
        return bool(made["spec"].get("disruption") == "Safe")

    eventually(knows_new_fields, bool, "the schema of now", 30)
    for before in old:
        now = upgraded.read(before)
        assert _is_within(before["spec"], now["spec"]), now
        assert _is_within(before.get("status", {}), now.get("status", {})), now
        assert upgraded.patch(now, {"metadata": {"labels": {"touched": "true"}}})["metadata"]["labels"]["touched"]
        if now["kind"] == "AgentSession":
            _has_status_of_now(upgraded, now)


def _has_status_of_now(upgraded: Upgraded, session: Json) -> None:
    """Write what the operator of now would add to the status, and a field of the spec that is new."""
    ready = {"type": "Ready", "status": "True", "reason": "Running", "message": "m"}
    ready["lastTransitionTime"] = "2026-05-04T12:00:00Z"
    added = {"wakes": 0, "disruptions": 1, "oomKills": 2, "conditions": [ready]}
    written = upgraded.patch(session, {"status": added}, "/status")["status"]
    assert {key: written[key] for key in added} == added
    assert upgraded.patch(session, {"spec": {"disruption": "Never"}})["spec"]["disruption"] == "Never"
