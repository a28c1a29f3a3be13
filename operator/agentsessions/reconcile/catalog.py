"""What the watches have told of sessions: enough to know whom a change concerns, and to count; never to decide on."""

from dataclasses import dataclass, field

from agentsessions import metrics
from agentsessions.api.base import Json
from agentsessions.api.names import DEFAULT_TEMPLATE

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One session in a few words."""

    uid: str
    template: str
    reason: str
    finished: bool
    pool: str = ""
    host: str = ""


@dataclass
class Catalog:
    """All sessions that were seen."""

    _entries: dict[Key, Entry] = field(default_factory=dict)

    def put(self, key: Key, body: Json) -> None:
        """Take note of a session."""
        self.drop(key)
        self._entries[key] = entry = _entry(body)
        metrics.sessions.labels(key[0], entry.reason).inc()

    def drop(self, key: Key, uid: str | None = None) -> None:
        """Forget a session that is gone; its namesake, which has another uid, is another session."""
        entry = self._entries.get(key)
        if entry is not None and uid in (None, entry.uid):
            del self._entries[key]
            metrics.sessions.labels(key[0], entry.reason).dec()

    def of_pool(self, namespace: str, pool: str, host: str = "") -> list[Key]:
        """Return the sessions of a pool: all, or those that wait for something and those on one host, by pod name."""
        return [
            key
            for key, entry in self._entries.items()
            if (key[0], entry.pool) == (namespace, pool)
            and (not host or entry.host == host or entry.reason != "Running")
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
    ready: Json = next((c for c in status.get("conditions", []) if c["type"] == "Ready"), {})
    named = body.get("spec", {}).get("templateRef", {}).get("name", DEFAULT_TEMPLATE)
    return Entry(
        body["metadata"]["uid"],
        named,
        metrics.known(ready.get("reason", "Unknown")),
        "completionTime" in status,
        body.get("spec", {}).get("poolRef", {}).get("name", ""),
        status.get("host", {}).get("pod", ""),
    )
