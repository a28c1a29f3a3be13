"""What kopf calls when something changes: each handler only says which sessions are to be looked at."""

from dataclasses import dataclass, field
from typing import Any

import kopf

from agentsessions.api.base import GROUP, VERSION, Json
from agentsessions.api.names import (
    AGENT_SELECTOR,
    CLEANUP,
    HOST_SELECTOR,
    LABEL_COMPONENT,
    LABEL_MANAGED_BY,
    LABEL_POOL,
    LABEL_SESSION,
    LABEL_SESSION_UID,
    MANAGED_BY,
    POLICY_SELECTOR,
)
from agentsessions.reconcile.admission import Admission
from agentsessions.reconcile.audit import Auditor
from agentsessions.reconcile.catalog import RESTING, Catalog
from agentsessions.reconcile.longrunning.occupancy import Occupancy
from agentsessions.reconcile.observe import DeletedPods
from agentsessions.reconcile.queue import SessionQueue


@dataclass(frozen=True, slots=True)
class Watches:
    """What the handlers have in hand."""

    queue: SessionQueue
    catalog: Catalog
    auditor: Auditor
    deleted: DeletedPods
    occupancy: Occupancy = field(default_factory=Occupancy)
    admission: Admission = field(default_factory=Admission)
    pools_seen: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Have the audit bring what the watches did not."""
        self.auditor.sessions.missed = lambda body: self.on_session("DELETED", body)
        self.auditor.pods.missed = lambda body: self.on_pod("MISSED", body)
        self.auditor.templates.missed = self.on_template
        self.auditor.policies.missed = lambda body: self.on_policy("DELETED", body)

    def on_session(self, kind: str | None, body: Json) -> None:
        """A session was made, changed or deleted."""
        meta = body["metadata"]
        key = (meta["namespace"], meta["name"])
        # First, since kopf swallows what a handler raises; of a deleted one there may be a namesake.
        self.queue.add(key, listed=kind is None and _rests(body))
        if kind == "DELETED":
            self.auditor.sessions.gone(meta["uid"])
            self.catalog.drop(key, meta["uid"])
            self.admission.drop(key, meta["uid"])
            return
        self.auditor.sessions.delivered(body)
        self.occupancy.told(body)
        self.catalog.put(key, body)

    def on_pod(self, kind: str | None, body: Json) -> None:
        """A pod of a session changed; one that has ended says its last words, a deletion that was missed has none."""
        meta = body["metadata"]
        if name := _session_of(meta):
            self.queue.add((meta["namespace"], name))
        if kind != "MISSED":
            self.deleted.remember(body)
        if kind in ("DELETED", "MISSED"):
            self.auditor.pods.gone(meta["uid"])
        else:
            self.auditor.pods.delivered(body)

    def sessions_of_host(self, body: Json) -> None:
        """A host's pod came, changed or went: see to the sessions on it, and to those that wait for a host."""
        meta = body["metadata"]
        pool = meta.get("labels", {}).get(LABEL_POOL, "")
        for key in self.catalog.of_pool(meta["namespace"], pool, meta["name"]):
            self.queue.add(key)

    def sessions_of_pool(self, kind: str | None, body: Json) -> None:
        """A pool came, changed or went: its sessions are concerned by its settings, not by its counts."""
        meta, status = body["metadata"], body.get("status", {})
        known = [meta["uid"], meta.get("generation"), status.get("templateHash"), status.get("desiredReplicas")]
        pool = f"{meta['namespace']}/{meta['name']}"
        if kind != "DELETED" and self.pools_seen.get(pool) == known:
            return
        self.pools_seen[pool] = known
        if kind == "DELETED":
            del self.pools_seen[pool]
        for key in self.catalog.of_pool(meta["namespace"], meta["name"]):
            self.queue.add(key, listed=kind is None)

    def on_template(self, body: Json, *, listed: bool = False) -> None:
        """A template was made, changed or deleted: sessions that have not started may be concerned."""
        meta = body["metadata"]
        for key in self.catalog.unfinished(meta["namespace"], meta["name"]):
            self.queue.add(key, listed=listed)

    def on_policy(self, kind: str | None, body: Json) -> None:
        """A shared policy was changed or deleted: see that it stands."""
        if kind in ("DELETED", "MODIFIED"):
            for key in self.catalog.unfinished(body["metadata"]["namespace"]):
                self.queue.add(key)


def _rests(session: Json) -> bool:
    """Return whether a session that was listed is finished or asleep, as far as one can see, and nobody wants more."""
    status, meta = session.get("status", {}), session["metadata"]
    ready = next((one["reason"] for one in status.get("conditions", []) if one["type"] == "Ready"), "")
    over = "completionTime" in status or (ready in RESTING and "host" not in status)
    asked = status.get("lastRequestTime") != status.get("answeredRequestTime")
    current = status.get("observedGeneration") == meta.get("generation")
    return over and current and not asked and "deletionTimestamp" not in meta


def _session_of(meta: Json) -> str:
    """Return the name of the session that owns a pod, or that a cleanup pod, which nobody owns, says to be there for.

    Labels may be changed by anybody: for pods with an owner they do not count.
    """
    owners, labels = meta.get("ownerReferences", []), meta.get("labels", {})
    if not owners and labels.get(LABEL_COMPONENT) == CLEANUP:
        return str(labels.get(LABEL_SESSION, ""))
    return next((str(o["name"]) for o in owners if o.get("controller") and o["kind"] == "AgentSession"), "")


def registry(watches: Watches) -> kopf.OperatorRegistry:
    """Return kopf's registry with our handlers.

    Only `on.event`: kopf's other kinds of handlers write finalizers and annotations of their own
    onto every object, pods included.
    """
    out = kopf.OperatorRegistry()
    ours = {LABEL_MANAGED_BY: MANAGED_BY}

    async def session(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        watches.on_session(type, dict(body))

    async def template(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        watches.on_template(dict(body), listed=type is None)
        watches.auditor.templates.event(type, dict(body))

    async def pod(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        watches.on_pod(type, dict(body))

    async def policy(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        watches.on_policy(type, dict(body))
        watches.auditor.policies.event(type, dict(body))

    kopf.on.event(GROUP, VERSION, "agentsessions", registry=out)(session)
    kopf.on.event(GROUP, VERSION, "agenttemplates", registry=out)(template)
    kopf.on.event("v1", "pods", registry=out, labels={**ours, LABEL_SESSION_UID: kopf.PRESENT})(pod)
    kopf.on.event(
        "networking.k8s.io", "v1", "networkpolicies", registry=out, labels={**ours, LABEL_COMPONENT: "network-policy"}
    )(policy)
    kopf.on.login(registry=out)(kopf.login_via_client)
    return out


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings: no events and no scanning of its own, watches that notice when they are cut."""
    out = kopf.OperatorSettings()
    out.posting.enabled = False
    out.scanning.disabled = True
    out.watching.chunk_size = 500
    # The handlers' own label filters work in this process; without these, every pod of the cluster comes here.
    out.watching.label_selectors["v1", "pods"] = AGENT_SELECTOR
    out.watching.label_selectors["apps", "v1", "statefulsets"] = HOST_SELECTOR
    out.watching.label_selectors["networking.k8s.io", "v1", "networkpolicies"] = POLICY_SELECTOR
    out.watching.server_timeout = 600
    out.watching.connect_timeout = 10
    out.networking.request_timeout = 30
    out.persistence.finalizer = f"{GROUP}/unused"
    return out
