"""Proves that the watches still tell the truth: what the API server lists must have been delivered.

A watch that silently stopped is the worst state of an operator: everything looks well and nothing happens.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agentsessions import metrics
from agentsessions.api.names import POD_SELECTOR
from agentsessions.kube.client import Kube
from agentsessions.kube.paths import PODS, SESSIONS, Kind

STALE_SECONDS = 60.0
"""How long an object may stay behind before the watch counts as dead."""


@dataclass
class WatchLog:
    """The newest version that a watch delivered, by uid, and since when which objects are behind."""

    kind: Kind
    selector: str = ""
    versions: dict[str, int] = field(default_factory=dict)
    behind: dict[str, float] = field(default_factory=dict)

    def delivered(self, uid: str, version: str) -> None:
        """Take note of an event."""
        self.versions[uid] = int(version)
        if uid in self.behind:
            del self.behind[uid]

    def gone(self, uid: str) -> None:
        """Take note of a deletion."""
        self.versions.pop(uid, None)
        self.behind.pop(uid, None)

    def compare(self, listed: Mapping[str, int], now: float) -> None:
        """Hold a list against what was delivered; `now` is a monotonic time in seconds."""
        late = {uid for uid, version in listed.items() if self.versions.get(uid, 0) < version}
        self.behind = {uid: self.behind.get(uid, now) for uid in late}

    def is_stale(self, now: float) -> bool:
        """Return whether something has been behind for too long."""
        return any(now - since > STALE_SECONDS for since in self.behind.values())


@dataclass
class Auditor:
    """Holds the watches of sessions and pods against the API server, now and then."""

    kube: Kube
    namespaces: Sequence[str]
    sessions: WatchLog = field(default_factory=lambda: WatchLog(SESSIONS))
    pods: WatchLog = field(default_factory=lambda: WatchLog(PODS, POD_SELECTOR))

    async def audit(self) -> None:
        """List what is watched and compare; raises KubeError if the API server does not answer."""
        for log in (self.sessions, self.pods):
            log.compare(await self._listed(log), time.monotonic())
            metrics.watch_lag.labels(log.kind.plural).set(len(log.behind))
        metrics.last_audit.set_to_current_time()

    def is_stale(self) -> bool:
        """Return whether a watch counts as dead."""
        return any(log.is_stale(time.monotonic()) for log in (self.sessions, self.pods))

    async def _listed(self, log: WatchLog) -> dict[str, int]:
        """Return the version of every object, by uid."""
        selectors = {"labelSelector": log.selector} if log.selector else {}
        out: dict[str, int] = {}
        for namespace in self.namespaces or (None,):
            items = await self.kube.list(log.kind, namespace, metadata_only=True, **selectors)
            out |= {item["metadata"]["uid"]: int(item["metadata"]["resourceVersion"]) for item in items}
        return out
