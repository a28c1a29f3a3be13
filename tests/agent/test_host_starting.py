"""What a host does that is told to stop while it starts: a second alone, half a minute where many start at a time."""

from pathlib import Path

import pytest

from agent.container import handles_sigterm
from agent.host import Host
from agent.kept import Kept
from agent.model import Model

pytestmark = pytest.mark.timeout(180)


async def told_to_stop_while_it_loads(host: Host) -> int:
    """Start a host and tell it to stop before it has loaded; return its exit code."""
    process = await host.begin()
    await handles_sigterm(process.pid)
    await host.terminate()
    return await host.ended()


@pytest.mark.requirement("K02")
async def test_one_that_has_nothing_leaves_at_once(tmp_path: Path, model: Model) -> None:
    """What it would load costs the next one its time: an evicted crowd starts again while it ends."""
    host = Host(tmp_path, model.url)
    try:
        assert await told_to_stop_while_it_loads(host) == 0
    finally:
        await host.destroy()
    assert host.log == []  # of one that has loaded: `serving`, `draining`, `drained`


@pytest.mark.requirement("K02", "H31")
async def test_one_that_has_sessions_on_its_disk_stores_first_what_is_only_there(kept: Kept) -> None:
    talk, down = await kept.only_on_its_disk()
    await kept.host.kill()
    assert "answered" not in str(kept.entries(talk.session_id))
    down.unlink()
    assert await told_to_stop_while_it_loads(kept.host) == 0
    assert "answered" in str(kept.entries(talk.session_id))
