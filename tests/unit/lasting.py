"""A pool, its host pods, hosts that answer over real HTTP, and the operator's part for LongRunning sessions."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal

import aiohttp

from agentsessions.api.base import API_VERSION, Json
from agentsessions.api.config import Gateway, OperatorConfig
from agentsessions.api.host import Activation, HostSession, Scope
from agentsessions.api.names import LABEL_MANAGED_BY, LABEL_POOL, LABEL_POOL_UID, MANAGED_BY
from agentsessions.api.session import AgentSession
from agentsessions.api.status import Host, Termination
from agentsessions.hosts.client import HostAddress, HostClient
from agentsessions.hosts.streams import HostStreams
from agentsessions.hosts.tokens import Signer
from agentsessions.kube.paths import EVENTS, PODS, POOLS, SESSIONS
from agentsessions.reconcile.longrunning.driver import LongRunning
from agentsessions.reconcile.longrunning.hostwatch import follow_hosts
from agentsessions.reconcile.loop import Reconciler
from agentsessions.reconcile.observe import DeletedPods
from unit.hosts.fakehost import KEYS, FakeHost, serving, until
from unit.make import NAMESPACE, NOW, SessionMaker, stamp
from unit.world import World

POOL_UID = "7c1b9f0e-3a55-4a53-8f0a-9b0a7f3b2d11"
CONFIG = OperatorConfig(gateway=Gateway(enabled=True))
KEY = (NAMESPACE, "talk")


def make_talk(name: str = "talk", uid: str = "11111111-1111-4111-8111-111111111111", **spec: object) -> SessionMaker:
    """Start with the smallest LongRunning session."""
    meta = {"name": name, "namespace": NAMESPACE, "uid": uid, "generation": 1, "creationTimestamp": stamp(NOW)}
    body = {"pattern": "LongRunning", "poolRef": {"name": "chat"}} | spec
    return SessionMaker({"apiVersion": API_VERSION, "kind": "AgentSession", "metadata": meta, "spec": body})


def make_pool(replicas: int = 1, **spec: object) -> Json:
    """Return a pool."""
    meta = {"name": "chat", "namespace": NAMESPACE, "uid": POOL_UID, "creationTimestamp": stamp(NOW)}
    return {"metadata": meta, "spec": {"replicas": replicas} | spec}


def make_host_pod(name: str, uid: str, *, ready: bool = True) -> Json:
    """Return a host's pod."""
    labels = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_POOL: "chat", LABEL_POOL_UID: POOL_UID}
    owner = {"kind": "StatefulSet", "name": "chat", "uid": "sts", "controller": True}
    meta = {"name": name, "namespace": NAMESPACE, "uid": uid, "labels": labels, "ownerReferences": [owner]}
    return {"metadata": meta, "spec": {"nodeName": "n1"}, "status": pod_status(ready)}


def pod_status(ready: bool) -> Json:
    """Return the status of a host's pod."""
    return {"phase": "Running", "podIP": "10.0.0.7", "conditions": [{"type": "Ready", "status": str(ready)}]}


class Doors(HostClient):
    """A client that finds the pods of the made-up cluster where the tests serve them."""

    def __init__(self, http: aiohttp.ClientSession, hosts: list[FakeHost]) -> None:
        super().__init__(http, Signer(KEYS))
        self.hosts = hosts

    def _door(self, host: HostAddress) -> HostAddress:
        real = next((one.address for one in self.hosts if one.uid == host.uid), None)
        return replace(host, ip=real.ip, port=real.port) if real else replace(host, ip="127.0.0.1", port=1)

    async def activate(self, host: HostAddress, activation: Activation) -> HostSession:
        """Give a session to the host."""
        return await super().activate(self._door(host), activation)

    async def delete(
        self, host: HostAddress, session_id: str, files: Literal["keep", "delete"], *, archive: bool = False
    ) -> None:
        """Take a session from the host."""
        await super().delete(self._door(host), session_id, files, archive=archive)

    def events(self, host: HostAddress, scope: Scope) -> AbstractAsyncContextManager[aiohttp.StreamReader]:
        """Follow the host."""
        return super().events(self._door(host), scope)


@dataclass
class Queued:
    """The queue, as the driver sees it."""

    keys: list[tuple[str, str]] = field(default_factory=list)

    def add(self, key: tuple[str, str], *, listed: bool = False) -> None:
        """Take note of a wish."""
        self.keys.append(key)


@dataclass
class Stage:
    """Everything in one hand."""

    world: World
    hosts: list[FakeHost]
    lasting: LongRunning
    queue: Queued
    config: OperatorConfig = CONFIG
    requeue: timedelta | None = None

    async def look(self, key: tuple[str, str] = KEY) -> int:
        """Reconcile once; return the number of status writes."""
        before = self.status_writes()
        reconciler = Reconciler(self.world, self.config, DeletedPods(), "test", lambda: self.world.now, self.lasting)  # type: ignore[arg-type]
        self.requeue = await reconciler.reconcile(key)
        return self.status_writes() - before

    async def settle(self, key: tuple[str, str] = KEY) -> int:
        """Reconcile until there is nothing to do; return the number of status writes."""
        total = 0
        for _ in range(20):
            written = await self.look(key)
            total += written
            if not written:
                return total
        raise AssertionError("the operator does not come to rest")

    async def placed(self) -> Host:
        """Reconcile until the session has its host, and return where that is."""
        await self.settle()
        host = self.session().status.host
        assert host is not None
        return host

    async def follow(self) -> None:
        """Follow the hosts that there are, and wait until those that answer have spoken."""
        await follow_hosts(self.lasting, [])
        known = {host.uid for host in self.hosts}
        views = [view for view in self.lasting.streams.hosts() if view.address.uid in known]
        await until(lambda: all(self.heard(view.address.uid) for view in views))

    def heard(self, uid: str) -> bool:
        """Return whether a host has spoken and still does."""
        view = self.lasting.streams.host(uid)
        return view is not None and view.connected

    def status_writes(self) -> int:
        """Return how often a session's status was written."""
        return sum(r.verb == "PATCH" and r.plural == SESSIONS.plural for r in self.world.requests)

    def session(self, name: str = "talk") -> AgentSession:
        """Return the session."""
        return self.world.session(name)

    def last_end(self, name: str = "talk") -> Termination:
        """Return what status tells of how the session's host ended last; it has to tell something."""
        last = self.session(name).status.last_termination
        assert last is not None
        return last

    def says(self, kind: str = "Ready", name: str = "talk") -> tuple[str, str]:
        """Return status and reason of a condition."""
        found = self.session(name).status.condition(kind)
        assert found is not None, kind
        return found.status, found.reason

    def events(self) -> list[str]:
        """Return the reasons of the events that were posted."""
        return [str(body["reason"]) for body in self.world.of(EVENTS)]

    def put_pod(self, name: str, uid: str, *, ready: bool = True) -> None:
        """Let a host's pod be there."""
        self.world.add(PODS, make_host_pod(name, uid, ready=ready))
        self.set_ready(name, ready)

    def set_ready(self, name: str, ready: bool) -> None:
        """Let the node report of a host's pod."""
        body = self.world.objects[PODS, NAMESPACE, name]
        body["status"] = pod_status(ready)

    def lose_pod(self, name: str) -> None:
        """Take a host's pod away at once."""
        self.world.remove(PODS, NAMESPACE, name)


@asynccontextmanager
async def stage(*hosts: FakeHost, maker: SessionMaker | None = None, pool: Json | None = None) -> AsyncIterator[Stage]:
    """Serve the hosts, with pods, pool and one session; yield what tests need."""
    world = World()
    async with serving(*hosts), aiohttp.ClientSession() as http:
        client = Doors(http, list(hosts))
        streams = HostStreams(client, first_backoff=0.01)
        queue = Queued()
        lasting = LongRunning(world, CONFIG, client, streams, queue=queue)  # type: ignore[arg-type]
        made = Stage(world, list(hosts), lasting, queue)
        world.add(POOLS, pool or make_pool(replicas=len(hosts)))
        for host in hosts:
            made.put_pod(host.pod, host.uid)
        world.add(SESSIONS, (maker or make_talk()).json())
        await made.follow()
        try:
            yield made
        finally:
            await streams.close()


def two_hosts() -> tuple[FakeHost, FakeHost]:
    """Return two hosts."""
    return FakeHost("chat-0", "pod-uid-0"), FakeHost("chat-1", "pod-uid-1")
