"""Runs the directory: watches, host streams, and the server that Envoy asks."""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import kopf
from aiohttp import web

from agentsessions import logs
from agentsessions.api.host import Scope
from agentsessions.directory.access import Access
from agentsessions.directory.config import BadConfiguration, DirectoryConfig, load
from agentsessions.directory.decide import Decider
from agentsessions.directory.delivery import host_client
from agentsessions.directory.entry import ClockReader, Entry
from agentsessions.directory.identity import Identities
from agentsessions.directory.relay import Relay
from agentsessions.directory.server import questions, status
from agentsessions.directory.tickets import Tickets
from agentsessions.directory.waking import Waker
from agentsessions.directory.watches import registry, settings
from agentsessions.directory.whereabouts import Whereabouts
from agentsessions.directory.world import World
from agentsessions.hosts.client import HostAddress, HostClient, connections
from agentsessions.hosts.clocks import HostClocks
from agentsessions.hosts.keys import BadKey, KeyRing, load_keys
from agentsessions.hosts.streams import HostStreams
from agentsessions.hosts.tokens import Signer
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import KubeError
from agentsessions.kube.paths import POOLS, SESSIONS

_RETRY_SECONDS = 2.0


def run_directory(path: Path, port: int, status_port: int) -> int:
    """Run the directory; return its exit code: 0 when told to stop, 2 for a bad configuration."""
    try:
        config = load(path)
        keys = load_keys(Path(config.key_directory))
    except (BadConfiguration, BadKey) as error:
        print(f"agentsessions: {error}", file=sys.stderr)
        return 2
    logs.configure(config.log_level)
    return asyncio.run(_main(config, keys, port, status_port))


async def _main(config: DirectoryConfig, keys: KeyRing, port: int, status_port: int) -> int:
    stop, ready = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        kube = await Kube.connect()
        stack.push_async_callback(kube.close)
        signer = Signer(keys, HostClocks(lambda: kube.time().timestamp()))
        http = await stack.enter_async_context(connections())
        streams = HostStreams(HostClient(http, signer), Scope.WATCH)
        stack.push_async_callback(streams.close)
        world = World()
        whereabouts = Whereabouts(kube, world, streams, Waker(kube, kube.time))
        tickets = Tickets(config.max_held)
        hosts = await stack.enter_async_context(host_client())
        entry = Entry(signer, ClockReader(hosts, signer.clocks).ask)
        relay = Relay(whereabouts, entry, tickets, hosts)
        tickets.address = await open_relay(stack, relay)
        decider = Decider(config, Identities(kube, config), Access(kube, config), whereabouts, entry, tickets)
        await _listen(stack, questions(decider), "127.0.0.1", port)
        await _listen(stack, status(ready.is_set), "0.0.0.0", status_port)
        watching = asyncio.create_task(_watch(world, streams, config, stop))
        listing = asyncio.create_task(_list(kube, config, ready))
        await asyncio.wait({watching, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
        for task in (watching, listing):
            task.cancel()
        results = await asyncio.gather(watching, listing, return_exceptions=True)
    logs.info("stopped")
    return 1 if isinstance(results[0], Exception) else 0


async def _listen(stack: AsyncExitStack, app: web.Application, host: str, port: int) -> None:
    """Serve an application until the stack is left."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, host, port).start()


async def open_relay(stack: AsyncExitStack, relay: Relay) -> str:
    """Serve the relay on loopback, at a free port until the stack is left; return host and port.

    Only Envoy, which the decision tells, has to know the port. A client that leaves ends what is done for it.
    """
    runner = web.AppRunner(relay.application(), access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return f"{host}:{port}"


async def _list(kube: Kube, config: DirectoryConfig, ready: asyncio.Event) -> None:
    """Be ready once the API server has answered: what the watches have not told yet is looked up live."""
    while not ready.is_set():
        try:
            for namespace in config.watch_namespaces or (None,):
                for kind in (SESSIONS, POOLS):
                    await kube.list(kind, namespace, metadata_only=True)
            ready.set()
        except KubeError as error:
            logs.warning("waiting for the API server", error=str(error))
            await asyncio.sleep(_RETRY_SECONDS)


async def _watch(world: World, streams: HostStreams, config: DirectoryConfig, stop: asyncio.Event) -> None:
    """Run kopf's watches."""

    def follow() -> None:
        pools = {pool.uid for pool in world.pools.values() if pool.implicit}
        pods = [pod for pod in world.pods.values() if pod.pool_uid in pools and pod.ip]
        streams.follow(HostAddress(pod.name, pod.uid, pod.ip) for pod in pods)

    await kopf.operator(
        registry=registry(world, follow),
        settings=settings(),
        standalone=True,
        clusterwide=not config.watch_namespaces,
        namespaces=config.watch_namespaces,
        stop_flag=stop,
    )
    stop.set()  # kopf takes over the signal handlers, so that its return is how a signal is heard
