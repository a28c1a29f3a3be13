"""What a host that is told to stop still does, and what it takes no more: by HTTP as by WebSocket."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from agent.host import Host, texts
from agent.kept import Kept
from agent.model import Model, script
from agent.test_host_conversations import gated, reached
from agentsessions.api.host import TOKEN_HEADER

pytestmark = pytest.mark.timeout(180)


async def draining(host: Host) -> None:
    """Tell the host to stop, and wait until it knows."""
    await host.terminate()
    async with asyncio.timeout(30):
        while (await host.json("GET", "/ready"))[0] != 503:  # noqa: ASYNC110 - another process is waited for
            await asyncio.sleep(0.05)


async def test_a_websocket_gives_no_work_to_a_host_that_stops(host: Host, tmp_path: Path, model: Model) -> None:
    talk, gate = await host.give(), tmp_path / "gate"
    turn = asyncio.create_task(talk.say(script(gated(gate), {"text": "finished"})))
    await reached(gate)
    assert host.http is not None
    async with host.http.ws_connect(f"/sessions/{talk.session_id}/ws", headers={TOKEN_HEADER: talk.token}) as ws:
        await draining(host)
        await ws.send_json({"type": "message", "prompt": script({"text": "never"})})
        told = [await ws.receive_json(timeout=20)]
        while told[-1]["event"] != "error":
            told.append(await ws.receive_json(timeout=20))
        gate.touch()
        assert texts(await turn)[-1] == "finished"
    assert str(told[-1]["data"]["type"]).rpartition("/")[2] == "draining"
    assert model.requests(talk.session_id) == 2
    assert await host.ended() == 0


async def test_a_message_that_waits_is_told_at_once_and_never_begun(host: Host, tmp_path: Path, model: Model) -> None:
    talk, gate = await host.give(), tmp_path / "gate"
    turn = asyncio.create_task(talk.say(script(gated(gate), {"text": "finished"})))
    await reached(gate)
    waiting = asyncio.create_task(talk.say(script({"text": "never"})))
    await talk.until(queued=1)
    requests = model.requests(talk.session_id)
    await draining(host)
    seen = await asyncio.wait_for(waiting, 20)
    assert [(event.kind, event.data["type"].rpartition("/")[2]) for event in seen] == [("error", "draining")]
    gate.touch()
    assert (await turn)[-1].kind == "done"
    assert await host.ended() == 0
    assert model.requests(talk.session_id) == requests + 1


@pytest.mark.requirement("K02", "H04")
async def test_each_session_leaves_when_its_own_turn_has_ended_and_waits_for_no_other(kept: Kept) -> None:
    idle, busy, gate = await kept.host.give(), await kept.host.give(), kept.store / "gate"
    await idle.say(script({"text": "before"}))
    turn = asyncio.create_task(busy.say(script(gated(gate), {"text": "finished"})))
    await reached(gate)
    await draining(kept.host)
    assert (await idle.until(putAway=True))["durable"] is True
    assert (await idle.refused("more"))[1]["type"].endswith("/draining")
    assert (await busy.state())["putAway"] is False
    async with kept.on_another_node() as host:
        moved = await host.give(idle.session_id)
        assert (await moved.state())["beginning"] == "Resumed"
        assert texts(await moved.say(script({"text": "elsewhere"}))) == ["elsewhere"]
        gate.touch()
        assert texts(await turn)[-1] == "finished"
        assert (await turn)[-1].kind == "done"
        assert await kept.host.ended() == 0


@pytest.mark.requirement("K02", "H31")
async def test_a_store_that_is_away_is_waited_for_as_long_as_there_is_grace(kept: Kept) -> None:
    """A node that is given up takes its pods along, and the store may be one of them."""
    talk, down = await kept.only_on_its_disk()
    await draining(kept.host)
    await asyncio.sleep(3)
    down.unlink()
    assert await kept.host.ended() == 0
    assert "answered" in str(kept.entries(talk.session_id))
    async with kept.on_another_node() as host:
        moved = await host.give(talk.session_id)
        assert (await moved.state())["beginning"] == "Resumed"


@pytest.mark.requirement("K02")
async def test_what_is_safe_to_evict_does_not_wait_for_its_turn(tmp_path: Path, model: Model) -> None:
    (tmp_path / "host").mkdir()
    host, gate = Host(tmp_path / "host", model.url), tmp_path / "gate"
    host.environment["AGENTSESSIONS_GRACE_SECONDS"] = "0"
    await host.start()
    try:
        talk = await host.give()
        turn = asyncio.create_task(talk.say(script(gated(gate), {"text": "never"})))
        await reached(gate)
        await host.terminate()
        assert "never" not in texts(await asyncio.wait_for(turn, 25))
        assert await host.ended() == 0
    finally:
        await host.destroy()


async def test_without_a_store_nothing_leaves_before_the_host_does(host: Host, tmp_path: Path) -> None:
    idle, busy, gate = await host.give(), await host.give(), tmp_path / "gate"
    await idle.say(script({"text": "before"}))
    turn = asyncio.create_task(busy.say(script(gated(gate), {"text": "finished"})))
    await reached(gate)
    await draining(host)
    await idle.until(phase="Suspended")
    assert (await idle.state())["putAway"] is False
    gate.touch()
    assert (await turn)[-1].kind == "done"
    assert await host.ended() == 0


async def test_other_settings_hold_from_the_next_turn(host: Host, model: Model) -> None:
    talk = await host.give(settings={"agent": {"model": "claude-one"}})
    await talk.say("remember: dunlin. " + script({"text": "noted"}))
    assert (await host.activate(talk.session_id, settings={"agent": {"model": "claude-two"}}))[0] == 200
    await talk.say(script({"text": "by the new one"}))
    assert [body["model"] for body in model.bodies] == ["claude-one", "claude-two"]
    assert "dunlin" in str(model.bodies[-1]["messages"][0])


async def test_a_conversation_that_is_gone_is_not_taken_for_a_new_one(host: Host) -> None:
    talk = await host.give()
    await talk.say(script({"text": "noted"}))
    known = (await talk.state())["usage"]
    await host.kill()
    for path in (host.folder / "state" / "sessions" / talk.session_id).rglob("*.jsonl"):
        path.unlink()
    await host.start()
    status, body = await host.json("GET", f"/sessions/{talk.session_id}", talk.token)
    assert (status, body.get("beginning")) != (200, "Fresh")
    assert (await host.activate(talk.session_id, usage=known))[0] == 409


async def test_a_turn_can_be_ended_while_its_process_starts(host: Host) -> None:
    talk = await host.give()
    os.kill((await talk.state())["pid"], signal.SIGKILL)
    await talk.until(phase="Suspended")
    turn = asyncio.create_task(talk.say(script({"text": "never"})))
    await talk.until(phase="Running")
    assert (await host.json("POST", f"/sessions/{talk.session_id}/interrupt", talk.token))[0] == 202
    assert "never" not in str(await turn)
