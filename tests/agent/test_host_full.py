"""A session whose volume is full: what was taken can be ended, nothing is begun twice, and its agent can clear it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.host import Event, Host, Talk, texts
from agent.kept import Kept
from agent.model import Model, script
from agent.test_host_conversations import bash, gated, reached

pytestmark = pytest.mark.timeout(180)
FILL = "head -c 64M /dev/zero > filled; seq 2000"
"""Fills a small volume, and says more than fits into what is left of the transcript's last block."""


class SmallHost(Host):
    """A host whose volume is a small filesystem of its own."""

    def _command(self) -> list[str]:
        root = [] if os.geteuid() == 0 else ["--map-root-user"]
        mount = 'mount -t tmpfs -o size=16M small "$0/volume" && mkdir "$0/volume/state" "$0/volume/workspace"'
        binds = " && ".join(f'mount --bind "$0/volume/{one}" "$0/{one}"' for one in ("state", "workspace"))
        run = f'{mount} && {binds} && cd "$0/workspace" && exec {sys.executable} -m agentrunner serve'
        return ["unshare", "--mount", *root, "sh", "-c", run, str(self.folder)]


@pytest.fixture
async def small(tmp_path: Path, model: Model) -> AsyncIterator[Host]:
    """Return a running host on a small volume."""
    (tmp_path / "volume").mkdir()
    found = SmallHost(tmp_path, model.url)
    await found.start()
    try:
        yield found
    finally:
        await found.destroy()


def fill(talk: Talk, gate: Path) -> None:
    """Leave no room for what the host writes down of turns, then let the tool at the gate go on."""
    books(talk).symlink_to("/dev/full")
    gate.touch()


def books(talk: Talk) -> Path:
    """Return where the host writes down what becomes of messages."""
    return talk.host.folder / "state" / "sessions" / talk.session_id / ".turns.json.new"


async def waits_for_room(talk: Talk, gate: Path) -> "asyncio.Task[list[Event]]":
    """Have a message that was taken find no room when its turn comes."""
    first = asyncio.create_task(talk.say(script(gated(gate), {"text": "first"})))
    await reached(gate)
    key = {"Idempotency-Key": "second"}
    second = asyncio.create_task(talk.say(script({"text": "second"}), **key))
    await talk.until(queued=1)
    fill(talk, gate)
    assert (await first)[-1].kind == "done"
    return second


async def test_a_message_that_waits_for_room_can_be_interrupted_and_does_not_run(
    host: Host, tmp_path: Path, model: Model
) -> None:
    talk = await host.give()
    second = await waits_for_room(talk, tmp_path / "gate")
    requests = model.requests(talk.session_id)
    async with talk.open("POST", "/interrupt") as answer:
        assert answer.status == 202
    assert [event.kind for event in await asyncio.wait_for(second, 5)] == ["done"]
    books(talk).unlink()
    assert texts(await talk.say(script({"text": "third"}))) == ["third"]
    assert model.requests(talk.session_id) == requests + 1, "what was interrupted was never asked for"


async def test_a_message_without_room_is_given_back_and_holds_up_no_suspension(host: Host, tmp_path: Path) -> None:
    talk = await host.give()
    second = await waits_for_room(talk, tmp_path / "gate")
    assert (await host.json("POST", f"/sessions/{talk.session_id}/suspend?wait=true"))[0] == 202
    (told,) = await asyncio.wait_for(second, 30)
    assert told.data["type"].endswith("/no-room")
    assert "workspace" in told.data["message"]
    assert (await talk.until(putAway=True))["phase"] == "Suspended"


@pytest.mark.requirement("K02")
async def test_a_process_that_dies_before_its_message_is_given_back_is_told_of(host: Host, tmp_path: Path) -> None:
    talk = await host.give()
    second = await waits_for_room(talk, tmp_path / "gate")
    os.kill((await talk.state())["pid"], signal.SIGKILL)
    (told,) = await asyncio.wait_for(second, 30)
    assert told.data["type"].endswith("/no-room")
    state = await talk.until(phase="Suspended")
    assert (state["death"]["reason"], state.get("pid")) == ("AgentCrashed", None)
    books(talk).unlink()
    assert texts(await talk.say(script({"text": "third"}))) == ["third"]
    assert (await talk.state())["death"] == state["death"], "it is one death"


async def test_an_agent_that_filled_its_volume_can_be_asked_to_clear_it(small: Host) -> None:
    talk = await small.give()
    filled = await talk.say(script(bash(FILL), {"text": "full"}))
    assert filled[-1].data["type"].endswith("/turn-not-kept")
    seen = await talk.say(
        script(bash("rm filled; ls | wc -l"), {"text": "left: {{toolResult}}"}), **{"Idempotency-Key": "k"}
    )
    assert seen[-1].kind == "done"
    assert "left: 0" in texts(seen)[-1]
    assert texts(await talk.say(script({"text": "goes on"}))) == ["goes on"]


def heard(model: Model) -> str:
    """Return the conversation as the model was last asked to go on with it."""
    return json.dumps(model.bodies[-1]["messages"])


@pytest.fixture
async def small_kept(tmp_path: Path, model: Model) -> AsyncIterator[Kept]:
    """Return a host on a small volume, whose sessions are kept in a store that has room."""
    found = Kept(tmp_path, model, SmallHost)
    (found.host.folder / "volume").mkdir()
    await found.host.start()
    try:
        yield found
    finally:
        await found.host.destroy()


async def in_another_pod(kept: Kept, talk: Talk) -> Talk:
    """Lose the pod with its volume, and take the session up from what is stored."""
    await kept.another_pod()
    return await kept.host.give(talk.session_id)


@pytest.mark.requirement("K02")
async def test_a_turn_that_could_not_be_written_down_is_said_to_be_cut_and_no_other_is_lost(
    small_kept: Kept, model: Model
) -> None:
    """The CLI says nothing when it cannot write, and would go on from memory until it is gone."""
    talk, key = await small_kept.host.give(), {"Idempotency-Key": "lost"}
    await talk.say(script({"text": "one"}))
    lost = await talk.say(script(bash(FILL), {"text": "two"}), **key)
    assert (lost[-1].kind, lost[-1].data["type"].rpartition("/")[2]) == ("error", "turn-not-kept")
    status, problem = await talk.refused(script({"text": "two"}), **key)
    assert (status, problem["type"].rpartition("/")[2]) == (409, "turn-interrupted")
    assert (await talk.state())["phase"] == "Suspended"
    assert (await talk.say(script(bash("rm filled; true"), {"text": "three"})))[-1].kind == "done"
    talk = await in_another_pod(small_kept, talk)
    assert (await talk.refused(script({"text": "two"}), **key))[0] == 409
    assert (await talk.say(script({"text": "four"})))[-1].kind == "done"
    assert all(f'"text": "{word}"' in heard(model) for word in ("one", "three"))


@pytest.mark.requirement("K02")
async def test_what_was_said_before_a_gap_in_the_transcript_is_remembered_after_it(
    small_kept: Kept, model: Model
) -> None:
    """What the CLI writes after lines that it lost names them as what it follows on."""
    talk = await small_kept.host.give()
    await talk.say(script({"text": "one"}))
    key = {"Idempotency-Key": "lost"}
    steps = (bash(FILL), bash("sleep 2; true"), bash("rm filled; sleep 1"), {"text": "two"})
    assert (await talk.say(script(*steps), **key))[-1].data["type"].endswith("/turn-not-kept")
    talk = await in_another_pod(small_kept, talk)
    assert (await talk.refused(script({"text": "two"}), **key))[0] == 409
    assert (await talk.say(script({"text": "three"})))[-1].kind == "done"
    assert '"text": "one"' in heard(model)
