"""What the watches have told of sessions: enough to know whom a change concerns, and to count; never to decide on."""

from dataclasses import dataclass, field
from datetime import datetime

from agentsessions import metrics
from agentsessions.api.base import Json
from agentsessions.api.conditions import LIMITED, Reason
from agentsessions.api.names import DEFAULT_TEMPLATE

Key = tuple[str, str]
RESTING = frozenset({Reason.ASLEEP, Reason.SUSPENDED}) | LIMITED
"""Reasons of sessions that wait for nothing but a person."""
_SETTLED = RESTING | {Reason.RUNNING}
"""Reasons of sessions that do not wait for anything."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One session in a few words. `not_durable` is why its store lacks something; `waking` since when it wakes."""

    uid: str
    template: str
    reason: str
    finished: bool
    pool: str = ""
    host: str = ""
    not_durable: str = ""
    waking: float = 0.0


@dataclass
class Catalog:
    """All sessions that were seen."""

    _entries: dict[Key, Entry] = field(default_factory=dict)
    _waking: dict[Key, float] = field(default_factory=dict)

    def put(self, key: Key, body: Json) -> None:
        """Take note of a session."""
        self.drop(key)
        self._entries[key] = entry = _entry(body)
        self._count(key, entry, 1)

    def drop(self, key: Key, uid: str | None = None) -> None:
        """Forget a session that is gone; its namesake, which has another uid, is another session."""
        entry = self._entries.get(key)
        if entry is not None and uid in (None, entry.uid):
            del self._entries[key]
            self._count(key, entry, -1)

    def _count(self, key: Key, entry: Entry, by: int) -> None:
        """Count a session that is there (1), or is not any more (-1)."""
        metrics.sessions.labels(key[0], entry.reason).inc(by)
        if entry.not_durable:
            metrics.not_durable.labels(key[0], entry.not_durable).inc(by)
        if entry.waking:
            self._waking.pop(key, None)
            if by > 0:
                self._waking[key] = entry.waking
            metrics.oldest_wake.set(min(self._waking.values(), default=0))

    def of_pool(self, namespace: str, pool: str, host: str = "") -> list[Key]:
        """Return the sessions of a pool: all, or those that wait for something and those on one host, by pod name."""
        return [
            key
            for key, entry in self._entries.items()
            if (key[0], entry.pool) == (namespace, pool)
            and (not host or entry.host == host or entry.reason not in _SETTLED)
        ]

    def unfinished(self, namespace: str, template: str | None = None) -> list[Key]:
        """Return the sessions of a namespace that go on, all or those of one template."""
        return [
            key
            for key, entry in self._entries.items()
            if key[0] == namespace and not entry.finished and template in (None, entry.template)
        ]


def _entry(body: Json) -> Entry:
    """Return a session in a few words."""
    status = body.get("status", {})
    conditions: dict[str, Json] = {one["type"]: one for one in status.get("conditions", [])}
    ready, durable = conditions.get("Ready", {}), conditions.get("TranscriptDurable", {})
    goes_on = body.get("spec", {}).get("pattern") == "Hybrid" and "deletionTimestamp" not in body["metadata"]
    wakes = goes_on and {"Ready", "Reconciling"} <= conditions.keys() and ready.get("reason") != Reason.QUEUED
    named = body.get("spec", {}).get("templateRef", {}).get("name", DEFAULT_TEMPLATE)
    return Entry(
        body["metadata"]["uid"],
        named,
        metrics.known(ready.get("reason", "Unknown")),
        "completionTime" in status,
        body.get("spec", {}).get("poolRef", {}).get("name", ""),
        status.get("host", {}).get("pod", ""),
        metrics.known(durable["reason"]) if durable.get("status") == "False" else "",
        datetime.fromisoformat(ready["lastTransitionTime"]).timestamp() if wakes else 0.0,
    )
