"""Proves that the CLI of this image starts, before the host says that it is ready.

Else an image in which it does not would pass for a good one, and the former would be forgotten.
"""

import asyncio
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from agentrunner.events import EventLog
from agentrunner.serving import launch
from agentrunner.serving.places import session_places
from agentrunner.serving.process import Process
from agentrunner.serving.settings import HostSettings
from agentrunner.subagents import Subagents
from agentsessions.api.agent import AgentOptions


async def starts(host: HostSettings, told: asyncio.Event, log: EventLog) -> bool:
    """Return whether the CLI starts; a host that is told to stop meanwhile need not know."""
    proof, stop = asyncio.create_task(_prove(host)), asyncio.create_task(told.wait())
    await asyncio.wait({proof, stop}, return_when=asyncio.FIRST_COMPLETED)
    done = proof.done()
    for task in (proof, stop):
        task.cancel()
    (error, _) = await asyncio.gather(proof, stop, return_exceptions=True)
    if done and error is not None:
        log.emit("cliNotStarted", error=type(error).__name__)
    return not done or error is None


async def _prove(host: HostSettings) -> None:
    """Start the CLI as for a session, shake hands, and end it: no model call is made. Raises what the SDK raises."""
    with TemporaryDirectory(dir=host.tmp, prefix="proof-", ignore_cleanup_errors=True) as folder:
        own, agent, session_id = _within(host, Path(folder)), AgentOptions(), str(uuid4())
        places = session_places(own, session_id)
        places.make()
        options = launch.options(agent, places, session_id, _ignored)
        process = Process(options, Subagents(agent), _ignored, _ignored)
        try:
            await process.connect()
        finally:
            await process.close()


def _within(host: HostSettings, folder: Path) -> HostSettings:
    """Return the host with all that it writes in one folder."""
    return replace(host, state=folder, workspace=folder / "workspace", tmp=folder / "tmp", home=folder / "home")


def _ignored(_: object) -> None:
    """Leave out what the CLI says: it may be anything."""
