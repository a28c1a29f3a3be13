"""What the watches have told of sessions, pools and pods, and where a session is by that. Never more than a hint:

the pod itself refuses what is not its own, so an entry that is out of date costs a retry and nothing else.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeVar

from agentsessions.api.base import Json
from agentsessions.api.conditions import HELD, LIMITED, WOKEN_IN_VAIN
from agentsessions.api.names import LABEL_POOL_UID
from agentsessions.policies.facts import parse_time, pod_facts
from agentsessions.policies.hosts import host_facts
from agentsessions.waiting import within

Key = tuple[str, str]
K = TypeVar("K")
V = TypeVar("V")


class SessionView(NamedTuple):
    """A session in a few words."""

    uid: str
    pattern: str
    pod: str
    pod_uid: str
    reason: str
    stalled: bool
    finished: bool
    ports: frozenset[int]
    requested: str = ""
    answered: str = ""
    message: str = ""
    deleting: bool = False
    suspended: str = ""
    retry: datetime | None = None

    @property
    def is_asleep(self) -> bool:
        """Whether it sleeps, and a message would wake it."""
        return self.reason == "Asleep"

    @property
    def is_given_up(self) -> bool:
        """Whether it was woken in vain and holds no pod any more; a message tries again."""
        return self.stalled and not self.pod and self.reason in WOKEN_IN_VAIN

    @property
    def is_spent(self) -> bool:
        """Whether it has reached a bound and sleeps: to wake it would be in vain."""
        return self.reason in LIMITED and not self.pod

    @property
    def is_suspended(self) -> bool:
        """Whether somebody has suspended it, so that no message is taken."""
        return self.reason == "Suspended"

    @property
    def is_held(self) -> bool:
        """Whether its host has it, as far as status says."""
        return self.reason in HELD


class PoolView(NamedTuple):
    """A pool in a few words."""

    uid: str
    implicit: bool


class PodView(NamedTuple):
    """An agent's pod in a few words."""

    name: str
    uid: str
    ip: str
    ready: bool
    running: bool
    deleting: bool
    pool_uid: str


def session_view(body: Json) -> SessionView:
    """Return a session in a few words."""
    spec, status = body.get("spec", {}), body.get("status", {})
    conditions = {one["type"]: one for one in status.get("conditions", [])}
    host = status.get("host", {})
    return SessionView(
        uid=body["metadata"]["uid"],
        pattern=spec.get("pattern", ""),
        pod=host.get("pod", ""),
        pod_uid=host.get("podUID", ""),
        reason=conditions.get("Ready", {}).get("reason", ""),
        stalled=conditions.get("Stalled", {}).get("status") == "True",
        finished="completionTime" in status,
        ports=frozenset(int(one["port"]) for one in spec.get("ports") or []),
        requested=status.get("lastRequestTime", ""),
        answered=status.get("answeredRequestTime", ""),
        message=conditions.get("Ready", {}).get("message", ""),
        deleting="deletionTimestamp" in body["metadata"],
        suspended=status.get("suspendTime", ""),
        retry=parse_time(status.get("retryTime")),
    )


def pool_view(body: Json) -> PoolView:
    """Return a pool in a few words."""
    return PoolView(body["metadata"]["uid"], bool(body.get("spec", {}).get("implicitSessions")))


def pod_view(body: Json) -> PodView:
    """Return a pod in a few words."""
    host, facts = host_facts(body), pod_facts(body)
    pool = body["metadata"].get("labels", {}).get(LABEL_POOL_UID, "")
    return PodView(host.name, host.uid, host.ip, host.ready, facts.running, host.deleting, pool)


@dataclass
class World:
    """Everything that was seen. `changed` wakes whoever waits for something to come about."""

    sessions: dict[Key, SessionView] = field(default_factory=dict)
    pools: dict[Key, PoolView] = field(default_factory=dict)
    pods: dict[str, PodView] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def session(self, key: Key, view: SessionView | None, uid: str = "") -> None:
        """Take note of a session; None of one with that uid that is gone."""
        if view is None and key in self.sessions and self.sessions[key].uid != uid:
            return
        _put(self.sessions, key, view)
        self._wake()

    def pool(self, key: Key, view: PoolView | None) -> None:
        """Take note of a pool."""
        _put(self.pools, key, view)
        self._wake()

    def pod(self, uid: str, view: PodView | None) -> None:
        """Take note of a pod."""
        _put(self.pods, uid, view)
        self._wake()

    def hosts(self, pool_uid: str) -> list[PodView]:
        """Return the pods of a pool that take sessions."""
        return [pod for pod in self.pods.values() if pod.pool_uid == pool_uid and pod.ready and not pod.deleting]

    async def change(self, seconds: float) -> None:
        """Wait until something changes, for so long at most."""
        await within(seconds, self._news.wait())

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _put(into: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        into.pop(key, None)
    else:
        into[key] = value
