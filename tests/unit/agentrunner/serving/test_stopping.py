"""What a host that stops says of its sessions: whether it ended the work of one for that."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agentrunner.serving.cli import Cli
from agentrunner.serving.process import ProcessDied
from agentsessions.api.host import SessionSettings
from unit.agentrunner.keeping.talks import FakeStore
from unit.agentrunner.serving.test_unread import WANTED, Idle, host


class Working(Idle):
    """A process that works until it is interrupted."""

    noted = False

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def ask(self, text: str, uuid: str, seconds: float | None = None) -> None:
        """Take as long as it may."""
        await self.over.wait()
        raise ProcessDied

    async def interrupt(self) -> None:
        """Leave it at that."""
        self.over.set()


@pytest.mark.requirement("K02", "H04")
@pytest.mark.parametrize("at_work", [True, False])
async def test_it_says_whether_it_ended_its_work(
    at_work: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connected(cli: Cli, settings: SessionSettings, starting: Callable[[], None]) -> Working:
        cli.process = cli.process or Working()  # type: ignore[assignment]
        return cli.process  # type: ignore[return-value]

    monkeypatch.setattr(Cli, "connected", connected)
    registry = host(tmp_path, FakeStore())
    session = await registry.activate(WANTED)
    if at_work:
        turn = session.submit("x", None, reject_when_busy=False)
        while not turn.asked:  # noqa: ASYNC110 - its process is on its way
            await asyncio.sleep(0.01)
    await registry.close(0)
    assert (session.state().put_away, session.state().stopped_at_work) == (True, at_work)
