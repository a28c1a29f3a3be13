"""What a host does that is told to stop while it starts: a second alone, half a minute where many start at a time."""

import asyncio
from pathlib import Path

import claude_agent_sdk
import pytest

from agent.container import handles_sigterm
from agent.host import OWN_MOUNTS, Host, texts
from agent.kept import Kept
from agent.model import Model, script
from agentsessions.api.host import EXIT_CLI, PROVES_CLI

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


class Broken(Host):
    """A host in whose image the CLI ends as soon as it is started."""

    def _command(self) -> list[str]:
        program = self.folder / "claude"
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
        there = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
        bound = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
        return [*OWN_MOUNTS, "sh", "-c", bound, "sh", str(program), str(there), *super()._command()]


@pytest.mark.requirement("K02")
async def test_one_that_is_to_prove_its_cli_serves_when_it_starts(tmp_path: Path, model: Model) -> None:
    """And leaves nothing of that behind, nor asks the model."""
    host = Host(tmp_path, model.url)
    host.environment[PROVES_CLI] = "true"
    try:
        await host.start()
        assert list((tmp_path / "tmp").glob("proof-*")) == []
        assert model.bodies == []
        talk = await host.give()
        assert texts(await talk.say(script({"text": "answered"}))) == ["answered"]
    finally:
        await host.destroy()


@pytest.mark.requirement("K02", "H11")
async def test_one_whose_cli_does_not_start_ends_before_it_is_ready(tmp_path: Path, model: Model) -> None:
    """Its node starts it again, and whoever made it knows by that that the image is no good."""
    host = Broken(tmp_path, model.url)
    host.environment[PROVES_CLI] = "true"
    try:
        await host.begin()
        assert await host.ended() == EXIT_CLI
    finally:
        await host.destroy()
    (told,) = [entry for entry in host.log if entry["event"] != "stderr"]
    assert told["event"] == "cliNotStarted"
    assert told["error"]
    assert list((tmp_path / "tmp").glob("proof-*")) == []


@pytest.mark.requirement("K02")
async def test_one_that_is_told_to_stop_while_it_proves_its_cli_leaves_well(tmp_path: Path, model: Model) -> None:
    host = Host(tmp_path, model.url)
    host.environment[PROVES_CLI] = "true"
    try:
        await host.begin()
        async with asyncio.timeout(60):
            while not list((tmp_path / "tmp").glob("proof-*")):  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.01)
        await host.terminate()
        assert await host.ended() == 0
    finally:
        await host.destroy()
    assert list((tmp_path / "tmp").glob("proof-*")) == []
