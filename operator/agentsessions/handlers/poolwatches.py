"""What kopf calls when something changes around pools: each handler only says which pools are to be looked at."""

from dataclasses import dataclass, field
from typing import Any

import kopf

from agentsessions.api.base import GROUP, VERSION, Json
from agentsessions.api.names import DEFAULT_TEMPLATE, LABEL_MANAGED_BY, LABEL_POOL, LABEL_POOL_UID, MANAGED_BY
from agentsessions.handlers.watches import Watches
from agentsessions.reconcile.queue import SessionQueue

Key = tuple[str, str]


@dataclass
class PoolWatches:
    """The queue of pools, and the template that each pool is made from."""

    queue: SessionQueue
    sessions: Watches
    _templates: dict[Key, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Have the audit bring what the watches did not."""
        self.sessions.auditor.pools.missed = lambda body: self.on_pool("DELETED", body)
        self.sessions.auditor.stateful_sets.missed = self.on_child
        self.sessions.auditor.hosts.missed = self.on_host

    def on_pool(self, kind: str | None, body: Json) -> None:
        """A pool was made, changed or deleted."""
        meta = body["metadata"]
        key = (meta["namespace"], meta["name"])
        self.queue.add(key)
        self._templates[key] = body.get("spec", {}).get("templateRef", {}).get("name", DEFAULT_TEMPLATE)
        if kind == "DELETED":
            self._templates.pop(key, None)
        self.sessions.sessions_of_pool(kind, body)

    def on_child(self, body: Json) -> None:
        """A StatefulSet of ours was changed or deleted."""
        self._add(body)

    def on_host(self, body: Json) -> None:
        """A host's pod came, changed or went."""
        self._add(body)
        self.sessions.sessions_of_host(body)

    def on_template(self, body: Json) -> None:
        """A template was made, changed or deleted: pools are made from it."""
        meta = body["metadata"]
        for key, template in self._templates.items():
            if (key[0], template) == (meta["namespace"], meta["name"]):
                self.queue.add(key)

    def _add(self, body: Json) -> None:
        meta = body["metadata"]
        if pool := meta.get("labels", {}).get(LABEL_POOL):
            self.queue.add((meta["namespace"], pool))


def register(out: kopf.OperatorRegistry, pools: PoolWatches) -> None:
    """Add the handlers to kopf's registry."""

    async def pool(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        pools.on_pool(type, dict(body))
        pools.sessions.auditor.pools.event(type, dict(body))

    async def host(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        pools.on_host(dict(body))
        pools.sessions.deleted.remember(dict(body))
        pools.sessions.auditor.hosts.event(type, dict(body))

    async def child(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        pools.on_child(dict(body))
        pools.sessions.auditor.stateful_sets.event(type, dict(body))

    async def template(body: kopf.Body, **_: Any) -> None:
        pools.on_template(dict(body))

    kopf.on.event(GROUP, VERSION, "agentpools", registry=out)(pool)
    kopf.on.event(GROUP, VERSION, "agenttemplates", registry=out, id="pools-of-template")(template)
    kopf.on.event(
        "v1", "pods", registry=out, labels={LABEL_MANAGED_BY: MANAGED_BY, LABEL_POOL_UID: kopf.PRESENT}, id="hosts"
    )(host)
    kopf.on.event(
        "apps", "v1", "statefulsets", registry=out, labels={LABEL_MANAGED_BY: MANAGED_BY, LABEL_POOL_UID: kopf.PRESENT}
    )(child)
