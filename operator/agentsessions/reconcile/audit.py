"""Proves that the watches still tell the truth: what the API server lists must have been delivered.

A watch that silently stopped is the worst state of an operator: everything looks well and nothing happens.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from agentsessions import metrics
from agentsessions.api.base import Json
from agentsessions.api.names import HOST_SELECTOR, POD_SELECTOR, POLICY_SELECTOR
from agentsessions.kube.client import Kube
from agentsessions.kube.paths import NETWORK_POLICIES, PODS, POOLS, SESSIONS, STATEFUL_SETS, TEMPLATES, Kind

STALE_SECONDS = 60.0
"""How long an object may stay behind before the watch counts as dead."""


@dataclass
class WatchLog:
    """What a watch delivered last of each object, by uid, and since when which objects are behind.

    `missed` is told of an object whose deletion the watch did not deliver: after a long cut it lists anew,
    and a list has no deletions. `name`: what metrics call it, if not by its resource.
    """

    kind: Kind
    missed: Callable[[Json], None]
    selector: str = ""
    name: str = ""
    delivered_last: dict[str, Json] = field(default_factory=dict)
    behind: dict[str, float] = field(default_factory=dict)
    compared: float = 0.0
    synced: bool = False

    @property
    def resource(self) -> str:
        """What metrics call it."""
        return self.name or self.kind.plural

    def event(self, kind: str | None, body: Json) -> None:
        """Take note of an event of that kind, as watches name them; None is one of the first listing."""
        if kind == "DELETED":
            self.gone(body["metadata"]["uid"])
        else:
            self.delivered(body)

    def delivered(self, body: Json) -> None:
        """Take note of an event."""
        uid = body["metadata"]["uid"]
        self.delivered_last[uid] = _identity(body)
        self._caught_up(uid)

    def gone(self, uid: str) -> None:
        """Take note of a deletion."""
        self.delivered_last.pop(uid, None)
        self._caught_up(uid)

    def compare(self, known: Mapping[str, Json], listed: Mapping[str, int], now: float) -> None:
        """Hold a list against what was delivered: `known` before it was asked for; `now` is monotonic seconds."""
        late = {uid for uid, version in listed.items() if self._version(uid) < version}
        self.behind = {uid: self.behind.get(uid, now) for uid in late}
        self.compared = now
        self._set_synced(self.synced or not late)
        for uid in known.keys() - listed.keys():
            if (body := self.delivered_last.get(uid)) is not None:
                self.gone(uid)
                self.missed(body)

    def is_stale(self) -> bool:
        """Return whether something was behind for too long when last compared; no answer is no proof."""
        return any(self.compared - since > STALE_SECONDS for since in self.behind.values())

    def _caught_up(self, uid: str) -> None:
        """Hold nothing against an object any more; the last of those that an audit missed makes the watch synced."""
        metrics.watch_delivered.labels(self.resource).set_to_current_time()
        if self.behind.pop(uid, None) is not None and not self.behind:
            self._set_synced(True)

    def _set_synced(self, synced: bool) -> None:
        self.synced = synced
        metrics.watch_synced.labels(self.resource).set(synced)

    def _version(self, uid: str) -> int:
        """Return the version that was delivered last; 0 for none."""
        body = self.delivered_last.get(uid)
        return int(body["metadata"]["resourceVersion"]) if body else 0


def _identity(body: Json) -> Json:
    """Return as much of an object as tells which it is."""
    meta = body["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "ownerReferences")
    return {"metadata": {key: meta[key] for key in kept if key in meta}}


@dataclass
class Auditor:
    """Holds the watches against the API server, now and then."""

    kube: Kube
    namespaces: Sequence[str]
    sessions: WatchLog = field(default_factory=lambda: WatchLog(SESSIONS, _ignore))
    pods: WatchLog = field(default_factory=lambda: WatchLog(PODS, _ignore, POD_SELECTOR))
    hosts: WatchLog = field(default_factory=lambda: WatchLog(PODS, _ignore, HOST_SELECTOR, "hosts"))
    templates: WatchLog = field(default_factory=lambda: WatchLog(TEMPLATES, _ignore))
    pools: WatchLog = field(default_factory=lambda: WatchLog(POOLS, _ignore))
    stateful_sets: WatchLog = field(default_factory=lambda: WatchLog(STATEFUL_SETS, _ignore, HOST_SELECTOR))
    policies: WatchLog = field(default_factory=lambda: WatchLog(NETWORK_POLICIES, _ignore, POLICY_SELECTOR))

    @property
    def logs(self) -> Sequence[WatchLog]:
        """Return what there is of each watch."""
        pooled = self.pools, self.stateful_sets, self.hosts
        return self.sessions, self.pods, self.templates, *pooled, self.policies

    async def audit(self) -> None:
        """List what is watched and compare; raises KubeError if the API server does not answer."""
        for log in self.logs:
            known = dict(log.delivered_last)
            log.compare(known, await self._listed(log), time.monotonic())
            metrics.watch_lag.labels(log.resource).set(len(log.behind))
        metrics.last_audit.set_to_current_time()

    def is_stale(self) -> bool:
        """Return whether a watch counts as dead."""
        return any(log.is_stale() for log in self.logs)

    async def _listed(self, log: WatchLog) -> dict[str, int]:
        """Return the version of every object, by uid."""
        selectors = {"labelSelector": log.selector} if log.selector else {}
        out: dict[str, int] = {}
        for namespace in self.namespaces or (None,):
            items = await self.kube.list(log.kind, namespace, metadata_only=True, **selectors)
            out |= {item["metadata"]["uid"]: int(item["metadata"]["resourceVersion"]) for item in items}
        return out


def _ignore(_: Json) -> None:
    """Do nothing about a missed deletion, until the watches say what is to be done."""
