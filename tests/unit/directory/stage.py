"""A directory without a network: its API server, what it has seen, and questions to it."""

from dataclasses import dataclass, field
from typing import Any
from unittest.mock import AsyncMock
from uuid import uuid4

import jwt

from agentsessions.api.base import Json
from agentsessions.directory.access import Access
from agentsessions.directory.config import DirectoryConfig
from agentsessions.directory.decide import Decider
from agentsessions.directory.entry import Entry
from agentsessions.directory.identity import Identities
from agentsessions.directory.tickets import Tickets
from agentsessions.directory.waking import Waker
from agentsessions.directory.whereabouts import Whereabouts
from agentsessions.directory.world import PodView, PoolView, SessionView, World
from agentsessions.hosts.keys import key_ring, new_key
from agentsessions.hosts.streams import HostStreams
from agentsessions.hosts.tokens import Signer
from agentsessions.kube.errors import Transient
from agentsessions.kube.paths import TOKEN_REVIEWS, Kind

AT = "/v1/namespaces/team/sessions/one"
POOL_UID, POD_UID, UID = (str(uuid4()) for _ in range(3))


@dataclass
class Cluster:
    """An API server that knows two users, and lets the one called `app` do everything in `team`."""

    asked: list[str] = field(default_factory=list)
    down: bool = False

    async def review(self, kind: Kind, question: Json) -> Json:
        self.asked.append(kind.plural)
        if self.down:
            raise Transient(0, "no answer")
        spec = question["spec"]
        if kind is TOKEN_REVIEWS:
            known = spec["token"] in ("app", "stranger")
            return {"status": {"authenticated": known, "user": {"username": spec["token"]}}}
        allowed = spec["user"] == "app" and spec["resourceAttributes"]["namespace"] == "team"
        return {"status": {"allowed": allowed}}

    async def get(self, kind: Kind, namespace: str, name: str) -> None:
        self.asked.append(kind.plural)

    async def merge(self, kind: Kind, *_: str, **__: str) -> Json:
        self.asked.append(f"{kind.plural} merge")
        return {}


def pod(**change: Any) -> PodView:
    whole: Json = {
        "name": "chat-0",
        "uid": POD_UID,
        "ip": "10.0.0.7",
        "ready": True,
        "running": True,
        "deleting": False,
    }
    return PodView(**whole | {"pool_uid": POOL_UID} | change)


def session(**change: Any) -> SessionView:
    whole: Json = {"uid": UID, "pattern": "LongRunning", "pod": "chat-0", "pod_uid": POD_UID, "reason": "Running"}
    rest: Json = {"stalled": False, "finished": False, "ports": frozenset({3000})}
    return SessionView(**whole | rest | change)


@dataclass
class Stage:
    """A directory without a network."""

    cluster: Cluster = field(default_factory=Cluster)
    world: World = field(default_factory=World)
    config: DirectoryConfig = field(default_factory=lambda: DirectoryConfig(hold_seconds=0))

    def __post_init__(self) -> None:
        kube: Any = self.cluster
        self.keys = key_ring(new_key())
        streams = HostStreams(client=None)  # type: ignore[arg-type]
        self.whereabouts = Whereabouts(kube, self.world, streams, Waker(kube))
        self.entry, self.tickets = Entry(Signer(self.keys), AsyncMock()), Tickets(self.config.max_held)
        self.decider = Decider(
            self.config,
            Identities(kube, self.config),
            Access(kube, self.config),
            self.whereabouts,
            self.entry,
            self.tickets,
        )
        self.world.pod(POD_UID, pod())
        self.world.session(("team", "one"), session())
        self.world.pool(("team", "chat"), PoolView(POOL_UID, True))

    async def ask(
        self, path: str = AT, method: str = "GET", token: str = "app", **headers: str
    ) -> tuple[int, str, Any]:
        found = await self.decider.decide(method, path, {"authorization": f"Bearer {token}", **headers})
        return found.status, found.outcome, found

    def claims(self, found: Any) -> Json:
        token = found.headers["x-agentsessions-token"]
        key = self.keys.signing.public_key()
        claims: Json = jwt.decode(token, key, algorithms=["EdDSA"], audience=POD_UID)
        return claims
