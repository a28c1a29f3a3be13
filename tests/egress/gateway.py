"""The gateway on loopback: a real Envoy by the chart's configuration, the directory that it asks, and a host."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentsessions.api.base import Json
from agentsessions.directory import entry
from agentsessions.directory.access import Access
from agentsessions.directory.config import DirectoryConfig
from agentsessions.directory.decide import Decider
from agentsessions.directory.delivery import host_client
from agentsessions.directory.entry import ClockReader, Entry
from agentsessions.directory.identity import Identities
from agentsessions.directory.main import open_relay
from agentsessions.directory.relay import Relay
from agentsessions.directory.server import questions
from agentsessions.directory.tickets import Tickets
from agentsessions.directory.waking import Waker
from agentsessions.directory.whereabouts import Whereabouts
from agentsessions.directory.world import PodView, SessionView, World
from agentsessions.hosts.keys import key_ring, new_key
from agentsessions.hosts.streams import HostStreams
from agentsessions.hosts.tokens import Signer
from agentsessions.kube.paths import Kind
from chart import helm
from egress import proxy

PATH = "/v1/namespaces/team/sessions/one"
TURN = b'id: a-1\nevent: message\ndata: {"type": "assistant"}\n\nid: a-2\nevent: done\ndata: {}\n\n'
UID, POD_UID = str(uuid4()), str(uuid4())


class Cluster:
    """An API server that knows everybody and allows everything."""

    async def review(self, _: Kind, question: Json) -> Json:
        """Answer a TokenReview or a SubjectAccessReview."""
        user = {"username": question["spec"].get("token", "")}
        return {"status": {"authenticated": True, "allowed": True, "user": user}}

    async def get(self, *_: object) -> None:
        """Have nothing that the watches have not told."""

    async def merge(self, *_: object, **__: object) -> Json:
        """Take the wish to wake a session."""
        return {}


@dataclass
class Gateway:
    """A gateway that runs: its address, what its directory has seen, and what came to the session's host."""

    url: str = ""
    world: World = field(default_factory=World)
    got: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def stand(self, reason: str, message: str = "") -> None:
        """Have the watches tell of the session."""
        pod_uid = POD_UID if reason == "Running" else ""
        known = SessionView(UID, "Hybrid", "one-1", pod_uid, reason, False, False, frozenset(), message=message)
        self.world.session(("team", "one"), known)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer as the session's host."""
        if request.path == "/health":
            return web.Response()
        self.got.append(request)
        self.bodies.append(await request.read())
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "X-Agentsessions-Session": "resumed"}
        )
        await response.prepare(request)
        await response.write(TURN)
        return response


@asynccontextmanager
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    """Run a gateway until the block ends; its session sleeps."""
    gateway = Gateway()
    folder = Path(tempfile.mkdtemp(prefix="gateway"))
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        host = await _served(stack, gateway.answer)
        monkeypatch.setattr(entry, "PORT", host)
        gateway.world.pod(POD_UID, PodView("one-1", POD_UID, "127.0.0.1", True, True, False, ""))
        gateway.stand("Asleep", "It sleeps.")
        _install(folder, await _directory(stack, gateway.world))
        ports, _ = await stack.enter_async_context(proxy.started(folder))
        gateway.url = f"http://127.0.0.1:{ports['clients']}{PATH}"
        yield gateway


async def _directory(stack: AsyncExitStack, world: World) -> int:
    """Run a directory; return the port at which Envoy asks it."""
    kube: Any = Cluster()
    config, signer, tickets = DirectoryConfig(hold_seconds=30), Signer(key_ring(new_key())), Tickets(100)
    hosts = await stack.enter_async_context(host_client())
    way_in = Entry(signer, ClockReader(hosts, signer.clocks).ask)
    whereabouts = Whereabouts(kube, world, HostStreams(client=None), Waker(kube))  # type: ignore[arg-type]
    relay = Relay(whereabouts, way_in, tickets, hosts, heartbeat=0.5)
    tickets.address = await open_relay(stack, relay)
    decider = Decider(config, Identities(kube, config), Access(kube, config), whereabouts, way_in, tickets)
    return await _listening(stack, questions(decider))


async def _served(stack: AsyncExitStack, handler: Any) -> int:
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", handler)
    return await _listening(stack, app)


async def _listening(stack: AsyncExitStack, app: web.Application) -> int:
    """Serve an application on loopback until the stack is left; return its port."""
    server = TestServer(app)
    await server.start_server()
    stack.push_async_callback(server.close)
    assert server.port is not None
    return server.port


def _install(folder: Path, directory: int) -> None:
    """Write the rendered configuration with the container's ports and paths moved to this machine's."""
    manifests = helm.template({"gateway": {"directory": {"port": directory}}})
    files = helm.named(manifests, "ConfigMap", f"{helm.RELEASE}-agentsessions-gateway")["data"]
    text = files["envoy.yaml"].replace("/tmp/envoy-admin.sock", f"{folder}/admin.sock")
    bootstrap = yaml.safe_load(text)
    for listener in bootstrap["static_resources"]["listeners"]:
        listener["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": 0}
    (folder / "envoy.yaml").write_text(yaml.safe_dump(bootstrap))
