"""Proves that the CLI of this image starts, before the host says that it is ready.

Else an image in which it does not would pass for a good one, and the former would be forgotten.
"""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from claude_agent_sdk import ClaudeSDKClient

from agentrunner.events import EventLog
from agentrunner.serving import launch
from agentrunner.serving.places import SessionPlaces
from agentsessions.api.agent import AgentOptions


async def starts(tmp: Path, told: asyncio.Event, log: EventLog) -> bool:
    """Return whether the CLI starts; a host that is told to stop meanwhile need not know."""
    proof, stop = asyncio.create_task(_prove(tmp)), asyncio.create_task(told.wait())
    await asyncio.wait({proof, stop}, return_when=asyncio.FIRST_COMPLETED)
    done = proof.done()
    for task in (proof, stop):
        task.cancel()
    (error, _) = await asyncio.gather(proof, stop, return_exceptions=True)
    if done and error is not None:
        log.emit("cliNotStarted", error=type(error).__name__)
    return not done or error is None


async def _prove(tmp: Path) -> None:
    """Start the CLI as for a session, shake hands, and end it: no model call is made. Raises what the SDK raises."""
    with TemporaryDirectory(dir=tmp, prefix="proof-", ignore_cleanup_errors=True) as folder:
        places = _places(Path(folder))
        places.make()
        client = ClaudeSDKClient(launch.options(AgentOptions(), places, str(uuid4()), _ignored))
        try:
            await client.connect()
        finally:
            await client.disconnect()


def _places(folder: Path) -> SessionPlaces:
    return SessionPlaces(
        own=folder / "own",
        config=folder / "own" / "claude",
        workspace=folder / "workspace",
        tmp=folder / "tmp",
        home=folder / "home",
    )


def _ignored(_: str) -> None:
    """Leave out what the CLI complains of: it may be anything."""
