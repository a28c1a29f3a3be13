"""One process after the other: what is left of the one is gone before the next may start."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentrunner.serving import cli
from agentrunner.serving.cli import Cli
from agentsessions.api.host import SessionSettings


class Ended:
    """A process that is over, as far as anybody can tell."""

    ended, noted, starved, pid = True, False, False, None

    def __init__(self, did: list[str]) -> None:
        self.did = did

    async def close(self) -> None:
        """Note that it was seen to."""
        self.did.append("closed")


@pytest.fixture
def did() -> list[str]:
    """Return what happened, in order."""
    return []


@pytest.fixture
def one(did: list[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Return the CLI of a session, which has one process that ended."""

    class Somewhere:
        config = Path("/nowhere")

    async def launched(_: Cli, settings: SessionSettings) -> Any:
        did.append("launched")
        return Ended(did)

    def end_all(_: Path) -> None:
        time.sleep(0.1)
        did.append("cleared")

    monkeypatch.setattr(Cli, "_launched", launched)
    monkeypatch.setattr(cli, "end_all", end_all)
    nobody: Any = None
    found = Cli("id", Somewhere(), nobody, nobody, nobody)  # type: ignore[arg-type]
    found.process = Ended(did)  # type: ignore[assignment]
    return found


async def begins(one: Cli) -> None:
    """Have a process."""
    nothing: Callable[[], None] = lambda: None  # noqa: E731 - nobody is told
    await one.connected(SessionSettings(), nothing)


@pytest.mark.requirement("K02")
async def test_what_is_left_of_one_is_cleared_before_the_next_begins(one: Cli, did: list[str]) -> None:
    leaving = asyncio.create_task(one.release(wholly=True))
    await asyncio.sleep(0)
    await asyncio.gather(leaving, begins(one))
    assert did == ["closed", "cleared", "launched"]


async def test_one_that_cannot_be_followed_any_more_is_ended_before_the_next_begins(one: Cli, did: list[str]) -> None:
    await begins(one)
    assert did == ["closed", "cleared", "launched"]
