"""`agentrunner serve`: a session host from its first signal to its last. The I/O of it all."""

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from agentrunner.environment import agent_environment
from agentrunner.errors import InvalidInput
from agentrunner.events import EventLog, LibraryHandler
from agentrunner.grace import RESERVE_SECONDS
from agentrunner.keeping.backends import Keeping
from agentrunner.keeping.opening import opened
from agentrunner.places import require_writable
from agentrunner.scrub import make_scrubber
from agentrunner.serving.app import application
from agentrunner.serving.news import News
from agentrunner.serving.ports import port_client
from agentrunner.serving.proof import starts
from agentrunner.serving.registry import Registry
from agentrunner.serving.settings import HostSettings, host_settings
from agentrunner.serving.tokens import Verifier
from agentrunner.stopping import SIGNALS, StopFlag
from agentsessions.api.host import EXIT_CLI

_SAMPLE_SECONDS = 5.0


def serve(own: Mapping[str, str], cwd: Path, log: EventLog, stop: StopFlag) -> int:
    """Run the host until it is told to stop; return the exit code."""
    try:
        host = host_settings(own, cwd)
        environment = agent_environment(own, "", str(host.state))
        os.environ.clear()
        os.environ.update(environment)
        require_writable(environment)
        verifier = Verifier(host.public_keys, host.pod_uid)
        keeping = opened(host.document)
    except InvalidInput as error:
        log.emit("refused", message=str(error))
        return 2
    implicit = host.document.implicit
    include = implicit is not None and implicit.content_logging == "Include"
    log.bind(make_scrubber(environment, ""), include_content=include, pool=host.document.pool)
    logging.basicConfig(handlers=[LibraryHandler(log)], force=True)
    return asyncio.run(_serve(host, verifier, keeping, log, stop))


async def _serve(host: HostSettings, verifier: Verifier, keeping: Keeping, log: EventLog, stop: StopFlag) -> int:
    """Listen, wait for the signal, drain, leave; without a CLI that starts, leave at once."""
    told, news = asyncio.Event(), News()
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    if stop.is_set:
        told.set()
    if host.proves_cli and not await starts(host, told, log):
        return EXIT_CLI
    registry = Registry(host, log, news.session_changed, keeping)
    await registry.reopen()
    async with port_client() as client:
        runner = web.AppRunner(
            application(registry, news, verifier, client), access_log=None, shutdown_timeout=1.0, auto_decompress=False
        )
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", host.port).start()
        log.emit("serving", sessions=len(registry.conversations), capacity=host.document.sessions_per_host)
        sampler = asyncio.create_task(_sample(registry))
        await told.wait()
        await _drain(host, registry, news, log)
        sampler.cancel()
        await runner.cleanup()
        await keeping.close()
    return 0


async def _drain(host: HostSettings, registry: Registry, news: News, log: EventLog) -> None:
    """Take no more turns, finish those that run, end the processes."""
    running = sum(one.turns.running is not None for one in registry.conversations)
    log.emit("draining", running=running)
    registry.draining = True
    news.host_changed()
    await registry.close(host.grace_seconds - RESERVE_SECONDS)
    log.emit("drained")


async def _sample(registry: Registry) -> None:
    """Weigh every session now and then, and see to its bounds."""
    while True:
        await asyncio.sleep(_SAMPLE_SECONDS)
        for conversation in registry.conversations:
            conversation.weigh()
            conversation.keep_bounds()
