"""Puts the operator together and runs it until it is told to stop."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import kopf

from agentsessions import logs, metrics
from agentsessions.api.config import OperatorConfig
from agentsessions.handlers import poolwatches
from agentsessions.handlers.configuration import BadConfiguration, load
from agentsessions.handlers.looplag import measure_lag
from agentsessions.handlers.server import Health, serve
from agentsessions.handlers.watches import Watches, registry, settings
from agentsessions.hosts.client import HostClient, connections
from agentsessions.hosts.clocks import HostClocks
from agentsessions.hosts.embeddedstore import ensure_password
from agentsessions.hosts.keys import BadKey, KeyRing, ensure_keys
from agentsessions.hosts.streams import HostStreams
from agentsessions.hosts.tokens import Signer
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import KubeError, NotFound
from agentsessions.kube.lease import Leadership
from agentsessions.kube.pace import Pace
from agentsessions.kube.paths import POOLS, SESSIONS, TEMPLATES
from agentsessions.reconcile.admission import Admission
from agentsessions.reconcile.audit import Auditor
from agentsessions.reconcile.catalog import Catalog
from agentsessions.reconcile.longrunning.driver import LongRunning
from agentsessions.reconcile.longrunning.hostwatch import clear_leftovers, follow_hosts
from agentsessions.reconcile.loop import Reconciler
from agentsessions.reconcile.observe import DeletedPods
from agentsessions.reconcile.pools.loop import PoolReconciler
from agentsessions.reconcile.queue import SessionQueue
from agentsessions.reconcile.sweep import sweep
from agentsessions.waiting import within

_AUDIT_SECONDS = 30.0
_CRD_SECONDS = 5.0
_SWEEP_SECONDS = 600.0
_POOL_WORKERS = 4
_FOLLOW_SECONDS = 5.0
_LEFTOVER_SECONDS = 60.0
_TEND_SECONDS = 15.0
_DRAIN_SECONDS = 5.0
_STOP_SECONDS = 10.0


def run_operator(path: Path, port: int) -> int:
    """Run the operator; return its exit code: 0 when told to stop, 2 for a bad configuration, 1 otherwise."""
    try:
        config = load(path)
    except BadConfiguration as error:
        print(f"agentsessions: {error}", file=sys.stderr)
        return 2
    logs.configure(config.log_level)
    metrics.build_info.labels(version("agentsessions")).set(1)
    return asyncio.run(_main(config, port))


async def _main(config: OperatorConfig, port: int) -> int:
    """Start the parts, wait for the end, stop them in order: watches, then work in hand, then probes."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    kube = await Kube.connect()
    kube.pace = Pace(config.kubernetes_api.qps, config.kubernetes_api.burst)
    auditor = Auditor(kube, config.watch_namespaces)
    health = Health(alive=lambda: not auditor.is_stale())
    try:
        server = await serve(health, port)
    except OSError as error:
        print(
            f"agentsessions: cannot listen on port {port}: {error.strerror}. Choose another with --port.",
            file=sys.stderr,
        )
        return 2
    lag = asyncio.create_task(measure_lag(), name="lag")
    try:
        return await _run(config, kube, auditor, health, stop)
    finally:
        lag.cancel()
        await server.cleanup()
        await kube.close()


async def _run(config: OperatorConfig, kube: Kube, auditor: Auditor, health: Health, stop: asyncio.Event) -> int:
    """Run watches, workers and chores until told to stop or until one of them dies."""
    await _await_crds(kube, config, stop)
    keys = await _keys(kube, config, stop)
    if keys is None:
        return 0
    async with connections() as http:
        config = config.model_copy(
            update={"gateway": config.gateway.model_copy(update={"public_keys": keys.public_keys})}
        )
        client = HostClient(http, Signer(keys, HostClocks(lambda: kube.time().timestamp())))
        lasting = LongRunning(kube, config, client, HostStreams(client))
        try:
            return await _lead(config, kube, auditor, health, stop, lasting)
        finally:
            await lasting.streams.close()


async def _lead(
    config: OperatorConfig, kube: Kube, auditor: Auditor, health: Health, stop: asyncio.Event, lasting: LongRunning
) -> int:
    """Work while this replica leads; to have lost the lead ends the process, since what it knows may be old."""
    if not config.leader_election.enabled:
        metrics.leading.set(1)
        return await _work(config, kube, auditor, health, stop, lasting, [])
    leadership = Leadership(kube, config.leader_election, _identity())
    health.ready = True  # to stand by is to be ready: what is asked for is a replica that could lead
    if not await leadership.acquire(stop):
        return 0
    kube.may_write = lasting.client.may_change = leadership.is_held
    try:
        renewal = asyncio.create_task(leadership.hold(), name="leadership")
        return await _work(config, kube, auditor, health, stop, lasting, [renewal])
    finally:
        await leadership.release()


async def _work(
    config: OperatorConfig,
    kube: Kube,
    auditor: Auditor,
    health: Health,
    stop: asyncio.Event,
    lasting: LongRunning,
    others: list[asyncio.Task[None]],
) -> int:
    """Run everything there is to run; `others` run beside it, and their end is the end of all."""
    deleted, catalog, admission = DeletedPods(), Catalog(), Admission(config.admission)
    # Without a gateway no pod of a task listens.
    agents = lasting.client if config.gateway.enabled else None
    reconciler = Reconciler(kube, config, deleted, _name(), kube.time, lasting, admission, agents=agents)
    queue = SessionQueue(reconciler.reconcile, config.concurrency)
    lasting.queue, lasting.admission, lasting.deleted, admission.call = queue, admission, deleted, queue.add
    watches = Watches(queue, catalog, auditor, deleted, lasting.occupancy, admission)
    pool_queue = SessionQueue(
        PoolReconciler(kube, config, lasting, kube.time, _name()).reconcile, _POOL_WORKERS, is_main=False
    )
    pools = poolwatches.PoolWatches(pool_queue, watches)
    namespaces = config.watch_namespaces
    tasks = [
        *others,
        asyncio.create_task(_watch(watches, pools, config, stop), name="watches"),
        asyncio.create_task(_run_workers(queue, admission, kube, namespaces), name="workers"),
        asyncio.create_task(pool_queue.run(), name="pool workers"),
        asyncio.create_task(_chore(_AUDIT_SECONDS, lambda: _audit(auditor, health)), name="audit"),
        asyncio.create_task(_chore(_SWEEP_SECONDS, lambda: sweep(kube, namespaces, kube.time())), name="sweep"),
        asyncio.create_task(_chore(_TEND_SECONDS, lambda: admission.tend(kube)), name="admission"),
        asyncio.create_task(_chore(_FOLLOW_SECONDS, lambda: follow_hosts(lasting, namespaces)), name="hosts"),
        asyncio.create_task(_chore(_LEFTOVER_SECONDS, lambda: clear_leftovers(lasting)), name="leftovers"),
    ]
    stopping = asyncio.create_task(_told(stop), name="stop")
    await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
    health.ready = False
    if stop.is_set():  # else a part died, and what is in hand is for the next process to find again
        await asyncio.gather(queue.drain(_DRAIN_SECONDS), pool_queue.drain(_DRAIN_SECONDS))
    return await _stop([*tasks, stopping])


async def _stop(tasks: list[asyncio.Task[None]]) -> int:
    """Stop every part within bounds; a part that died is a failure."""
    dead = [task for task in tasks if task.done() and task.exception() is not None]
    for task in dead:
        logs.warning("a part of the operator died", part=task.get_name(), error=repr(task.exception()))
    for task in tasks:
        task.cancel()
    await within(_STOP_SECONDS, asyncio.gather(*tasks, return_exceptions=True))
    logs.info("stopped")
    return 1 if dead else 0


async def _await_crds(kube: Kube, config: OperatorConfig, stop: asyncio.Event) -> None:
    """Wait until the API server knows our kinds: a watch that starts before would never see one."""
    namespace = config.watch_namespaces[0] if config.watch_namespaces else None
    while not stop.is_set():
        try:
            for kind in (SESSIONS, TEMPLATES, POOLS):
                await kube.list(kind, namespace, metadata_only=True)
            return
        except NotFound:
            logs.warning("the CRDs of agentsessions.dev are not installed: waiting for them")
        except KubeError as error:
            logs.warning("waiting for the API server", error=str(error))
        await within(_CRD_SECONDS, stop.wait())


async def _keys(kube: Kube, config: OperatorConfig, stop: asyncio.Event) -> KeyRing | None:
    """Return the keys that hosts trust, made if there are none yet; None when told to stop before that."""
    while not stop.is_set():
        try:
            await ensure_password(kube, config.embedded_store)
            return await ensure_keys(kube, config.signing_key)
        except (KubeError, BadKey) as error:
            logs.warning("waiting for the signing key", error=str(error))
        await within(_CRD_SECONDS, stop.wait())
    return None


def _name() -> str:
    """Return what this replica is called."""
    return os.environ.get("POD_NAME", socket.gethostname())


def _identity() -> str:
    """Return what this process is called in an election; outside of a pod no other process is a life of the same."""
    return f"{os.environ.get('POD_NAME') or uuid4()}_{uuid4()}"


async def _told(stop: asyncio.Event) -> None:
    """Return when the operator is told to stop."""
    await stop.wait()


async def _watch(watches: Watches, pools: poolwatches.PoolWatches, config: OperatorConfig, stop: asyncio.Event) -> None:
    """Run kopf's watches; `standalone`, since that one replica works is for the Lease to see to."""
    namespaces = config.watch_namespaces
    handlers = registry(watches)
    poolwatches.register(handlers, pools)
    await kopf.operator(
        registry=handlers,
        settings=settings(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
    )
    stop.set()  # kopf takes over the signal handlers, so that its return is how a signal is heard


async def _run_workers(queue: SessionQueue, admission: Admission, kube: Kube, namespaces: Sequence[str]) -> None:
    """Work, once it is known who has a pod already: else the first sessions would find every place free."""
    while True:
        try:
            await admission.fill(kube, namespaces)
            break
        except KubeError as error:
            logs.warning("waiting for the API server", error=str(error))
        await asyncio.sleep(_CRD_SECONDS)
    await queue.run()


async def _chore(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do something now and then; an API server that does not answer is no reason to die."""
    while True:
        try:
            await work()
        except KubeError as error:
            logs.warning("chore put off", error=str(error))
        await asyncio.sleep(seconds)


async def _audit(auditor: Auditor, health: Health) -> None:
    """Audit the watches; having had an answer is what makes the operator ready."""
    await auditor.audit()
    health.ready = True
