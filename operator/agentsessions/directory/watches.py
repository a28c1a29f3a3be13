"""What kopf calls in the directory: each handler puts what it was told into the world."""

from collections.abc import Callable
from typing import Any

import kopf

from agentsessions.api.base import GROUP, VERSION
from agentsessions.api.names import AGENT_SELECTOR, LABEL_MANAGED_BY, MANAGED_BY
from agentsessions.directory.world import World, pod_view, pool_view, session_view


def registry(world: World, hosts_changed: Callable[[], None]) -> kopf.OperatorRegistry:
    """Return kopf's registry; `hosts_changed` is called when other hosts may have to be followed."""
    out = kopf.OperatorRegistry()

    async def session(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        meta = body["metadata"]
        gone = type == "DELETED"
        world.session((meta["namespace"], meta["name"]), None if gone else session_view(dict(body)), meta["uid"])

    async def pool(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        meta = body["metadata"]
        world.pool((meta["namespace"], meta["name"]), None if type == "DELETED" else pool_view(dict(body)))
        hosts_changed()

    async def pod(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        world.pod(body["metadata"]["uid"], None if type == "DELETED" else pod_view(dict(body)))
        hosts_changed()

    kopf.on.event(GROUP, VERSION, "agentsessions", registry=out)(session)
    kopf.on.event(GROUP, VERSION, "agentpools", registry=out)(pool)
    kopf.on.event("v1", "pods", registry=out, labels={LABEL_MANAGED_BY: MANAGED_BY})(pod)
    kopf.on.login(registry=out)(kopf.login_via_client)
    return out


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings: watches and nothing else."""
    out = kopf.OperatorSettings()
    out.posting.enabled = False
    out.scanning.disabled = True
    out.watching.chunk_size = 500
    out.watching.label_selectors["v1", "pods"] = AGENT_SELECTOR
    out.watching.server_timeout = 600
    out.watching.connect_timeout = 10
    out.networking.request_timeout = 30
    return out
