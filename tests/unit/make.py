"""Fluent builders of the objects that tests are about: sessions, pods, reports. Each call returns a new builder."""

import json
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from pydantic.alias_generators import to_camel

from agentsessions.api.base import API_VERSION, Json
from agentsessions.api.config import OperatorConfig
from agentsessions.api.names import (
    ANNOTATION_TEMPLATE_HASH,
    CONTAINER,
    LABEL_ATTEMPT,
    LABEL_MANAGED_BY,
    LABEL_SESSION,
    LABEL_SESSION_UID,
    MANAGED_BY,
    pod_name,
)
from agentsessions.api.session import AgentSession
from agentsessions.api.status import AgentSessionStatus, Host
from agentsessions.api.template import TemplateFields
from agentsessions.policies.facts import PodFacts, pod_facts
from agentsessions.policies.resolve import Settings, resolve

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
UID = "0b6f2c1e-7d1a-4f65-9a57-3f1f0c1d2e3a"
NAMESPACE = "team-a"
BASE_URL = "http://model.test"
PROMPT = "Count the files in the workspace."

CONFIG = OperatorConfig.model_validate({"defaults": {"modelEndpoint": {"baseUrl": BASE_URL}}})


def stamp(moment: datetime) -> str:
    """Return a time as Kubernetes writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def camel(fields: dict[str, Any]) -> Json:
    """Return keyword arguments as the fields of a manifest."""
    return {to_camel(name): value for name, value in fields.items()}


@dataclass(frozen=True)
class SessionMaker:
    """Builds a session."""

    body: Json

    def with_spec(self, **fields: Any) -> Self:
        """Set fields of the spec, by their Python names."""
        return self._with(spec=self.body["spec"] | camel(fields))

    def with_template(self, name: str) -> Self:
        """Name a template."""
        return self.with_spec(template_ref={"name": name})

    def with_prompt_secret(self, name: str, key: str = "prompt") -> Self:
        """Take the prompt from a Secret of the user's own."""
        spec = {k: v for k, v in self.body["spec"].items() if k != "prompt"}
        return self._with(spec=spec | {"promptSecretRef": {"name": name, "key": key}})

    def with_storage(self, size: str, storage_class: str | None = None) -> Self:
        """Keep the workspace on a volume."""
        workspace = {"storage": size} | ({"storageClassName": storage_class} if storage_class else {})
        return self.with_spec(workspace=workspace)

    def with_meta(self, **fields: Any) -> Self:
        """Set fields of the metadata, by their Python names."""
        return self._with(metadata=self.body["metadata"] | camel(fields))

    def with_status(self, status: AgentSessionStatus | None = None, **fields: Any) -> Self:
        """Set the status, or fields of it."""
        before = AgentSessionStatus.model_validate(self.body.get("status", {}))
        return self._with(status=(status or before).model_copy(update=fields).to_json())

    def on_pod(self, pod: PodFacts) -> Self:
        """Say in status that the session is in this pod."""
        return self.with_status(host=Host(pod=pod.name, pod_uid=pod.uid, node=pod.node))

    def deleting(self) -> Self:
        """Mark the session as being deleted."""
        return self.with_meta(deletion_timestamp=stamp(NOW))

    def json(self) -> Json:
        """Return the manifest."""
        return deepcopy(self.body)

    def build(self) -> AgentSession:
        """Return the session."""
        return AgentSession.model_validate(self.body)

    def _with(self, **parts: Json) -> Self:
        return replace(self, body=deepcopy(self.body | parts))


def make_session(name: str = "hello") -> SessionMaker:
    """Start with the smallest useful session."""
    meta = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": UID,
        "generation": 1,
        "resourceVersion": "7",
        "creationTimestamp": stamp(NOW),
    }
    spec = {"pattern": "Ephemeral", "prompt": PROMPT}
    return SessionMaker({"apiVersion": API_VERSION, "kind": "AgentSession", "metadata": meta, "spec": spec})


@dataclass(frozen=True)
class PodMaker:
    """Builds a pod, as the API server would show it."""

    body: Json

    def with_status(self, status: Json) -> Self:
        """Put the pod into a state; `kubelet` has them."""
        return replace(self, body=deepcopy(self.body | {"status": status}))

    def with_meta(self, **fields: Any) -> Self:
        """Set fields of the metadata, by their Python names."""
        return replace(self, body=deepcopy(self.body | {"metadata": self.body["metadata"] | camel(fields)}))

    def made_with(self, settings_hash: str) -> Self:
        """Say which settings the pod was made with."""
        return self.with_meta(annotations={ANNOTATION_TEMPLATE_HASH: settings_hash})

    def with_label(self, name: str, value: str) -> Self:
        """Put a label on the pod."""
        return self.with_meta(labels=self.body["metadata"]["labels"] | {name: value})

    def owned_by(self, uid: str) -> Self:
        """Give the pod another owner."""
        owners = [{**self.body["metadata"]["ownerReferences"][0], "uid": uid}]
        return self.with_meta(owner_references=owners)

    def on_node(self, node: str) -> Self:
        """Bind the pod to a node."""
        return replace(self, body=deepcopy(self.body | {"spec": {"nodeName": node}}))

    def deleting(self) -> Self:
        """Mark the pod as being deleted."""
        return self.with_meta(deletion_timestamp=stamp(NOW))

    def json(self) -> Json:
        """Return the object."""
        return deepcopy(self.body)

    def facts(self) -> PodFacts:
        """Return what decisions are made on."""
        return pod_facts(self.body)


def make_pod(session: AgentSession | None = None, attempt: int = 0, *, created: datetime = NOW) -> PodMaker:
    """Start with a pod that the operator has just created."""
    meta = (session or make_session().build()).metadata
    owner = {"kind": "AgentSession", "name": meta.name, "uid": meta.uid, "controller": True}
    labels = {
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_SESSION: meta.name,
        LABEL_SESSION_UID: meta.uid,
        LABEL_ATTEMPT: str(attempt),
    }
    body = {
        "metadata": {
            "name": pod_name(meta.name, meta.uid, attempt),
            "namespace": meta.namespace,
            "uid": f"pod-{attempt}",
            "resourceVersion": "11",
            "creationTimestamp": stamp(created),
            "labels": labels,
            "ownerReferences": [owner],
        },
        "spec": {"containers": [{"name": CONTAINER}]},
        "status": {"phase": "Pending"},
    }
    return PodMaker(body)


def make_settings(session: AgentSession | None = None, config: OperatorConfig = CONFIG, **template: Any) -> Settings:
    """Resolve a session's settings, with a template of these fields if there are any."""
    session = session or make_session().build()
    level = TemplateFields.model_validate(camel(template)) if template else None
    return resolve(session.spec, level, config.defaults, template_name="default")


def make_report(outcome: str = "Succeeded", reason: str = "Completed", **fields: Any) -> str:
    """Return the termination message of our agent image."""
    return json.dumps({"version": 1, "sessionId": UID, "outcome": outcome, "reason": reason} | camel(fields))


def later(seconds: float) -> datetime:
    """Return a moment after NOW."""
    return NOW + timedelta(seconds=seconds)
