"""Sessions on a shared host: turns, streams, isolation, and what survives the death of a process."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.host import Host, Talk, events, texts
from agent.model import Model, script
from agentrunner.serving.processes import of_session

pytestmark = pytest.mark.timeout(180)


def bash(command: str) -> dict[str, object]:
    return {"tool": "Bash", "input": {"command": command}}


def gated(path: Path) -> dict[str, object]:
    """A tool call that lasts until the test makes the file."""
    return bash(f"touch {path}.reached; until [ -e {path} ]; do sleep 0.1; done")


async def reached(path: Path) -> None:
    async with asyncio.timeout(60):
        while not path.with_name(path.name + ".reached").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.05)


@pytest.mark.requirement("H02", "H11", "H25")
async def test_two_sessions_on_one_host_share_nothing_but_the_host(host: Host, model: Model) -> None:
    one, two = await host.give(), await host.give()
    states = [await one.state(), await two.state()]
    assert [state["phase"] for state in states] == ["Idle", "Idle"]
    assert len({state["pid"] for state in states}) == 2
    seen = await one.say(script(bash("echo mine > note; pwd; echo $CLAUDE_CONFIG_DIR"), {"text": "{{toolResult}}"}))
    assert [event.kind for event in seen][-1] == "done"
    assert {event.kind for event in seen[:-1]} == {"message"}
    ids = [int(event.id.rpartition("-")[2]) for event in seen]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert one.session_id in texts(seen)[-1]
    assert (host.folder / "workspace" / one.session_id / "note").exists()
    assert not (host.folder / "workspace" / two.session_id / "note").exists()
    assert texts(await two.say(script(bash("ls"), {"text": "saw {{toolResult}}"})))[-1].startswith("saw")
    assert model.requests(one.session_id) == 2
    pid = (await two.state())["pid"]
    assert "AGENTSESSIONS_" not in await asyncio.to_thread(Path(f"/proc/{pid}/environ").read_text)


async def test_messages_wait_for_their_turn_or_are_refused(host: Host, tmp_path: Path) -> None:
    talk, gate = await host.give(), tmp_path / "gate"
    first = asyncio.create_task(talk.say(script(gated(gate), {"text": "first"})))
    await reached(gate)
    assert (await talk.refused("x", **{"X-Agentsessions-When-Busy": "reject"}))[0] == 409
    waiting = [asyncio.create_task(talk.say(script({"text": f"next {n}"}))) for n in range(8)]
    await talk.until(queued=8)
    status, problem = await talk.refused()
    assert (status, problem["type"].rpartition("/")[2]) == (429, "queue-full")
    gate.touch()
    assert texts(await first) == ["first"]
    assert [texts(seen) for seen in await asyncio.gather(*waiting)] == [[f"next {n}"] for n in range(8)]


async def test_a_repeated_key_is_one_turn_even_after_a_crash(host: Host, model: Model, tmp_path: Path) -> None:
    talk = await host.give()
    once = await talk.say(script({"text": "paid once"}), **{"Idempotency-Key": "a"})
    assert await talk.say("something else", **{"Idempotency-Key": "a"}) == once
    assert model.requests(talk.session_id) == 1
    gate = tmp_path / "gate"
    cut = asyncio.create_task(talk.say(script(gated(gate)), **{"Idempotency-Key": "b"}))
    await reached(gate)
    await host.kill()
    with pytest.raises(Exception):  # noqa: B017, PT011
        await cut
    await host.start()
    again = await talk.say("anything", **{"Idempotency-Key": "a"})
    assert [event.kind for event in again] == ["done"]
    status, problem = await talk.refused("anything", **{"Idempotency-Key": "b"})
    assert (status, problem["type"].rpartition("/")[2]) == (409, "turn-interrupted")


@pytest.mark.requirement("H11", "K02")
async def test_a_killed_host_goes_on_from_its_disk(host: Host, model: Model) -> None:
    talk = await host.give()
    await talk.say("the word is heron. " + script({"text": "noted"}))
    before = await talk.state()
    await host.kill()
    await host.start()
    status, state = await host.activate(talk.session_id, usage=before["usage"], transcript=before["transcript"])
    assert (status, state["beginning"]) == (200, "Resumed")
    assert state["pid"] != before["pid"]
    await talk.say(script({"text": "still here"}))
    last = model.bodies[-1]["messages"]
    assert "heron" in str(last[0])
    after = await talk.state()
    assert after["usage"]["turns"] == 2
    assert float(after["usage"]["costUsd"]) > float(before["usage"]["costUsd"])
    assert after["transcript"]["entries"] > before["transcript"]["entries"]


async def test_a_lost_conversation_is_never_silently_blank(host: Host) -> None:
    session_id = "3f0e0b1e-0000-4000-8000-000000000001"
    known = {"turns": 3, "costUsd": "0.5"}
    status, problem = await host.activate(session_id, usage=known)
    assert (status, problem["type"].rpartition("/")[2]) == (409, "transcript-missing")
    status, state = await host.activate(session_id, usage=known, onMissingTranscript="StartFresh")
    assert (status, state["beginning"]) == (200, "Lost")
    async with Talk(host, session_id).open("POST", "/messages", json={"prompt": script({"text": "new"})}) as answer:
        assert answer.headers["X-Agentsessions-Session"] == "lost"
        assert [event.kind async for event in events(answer)][-1] == "done"
    assert (await Talk(host, session_id).state())["usage"]["turns"] == 4


async def test_a_dead_cli_is_told_and_the_next_message_goes_on(host: Host, model: Model, tmp_path: Path) -> None:
    talk, gate = await host.give(), tmp_path / "gate"
    await talk.say("remember: osprey. " + script({"text": "noted"}))
    turn = asyncio.create_task(talk.say(script(gated(gate))))
    await reached(gate)
    dead = (await talk.state())["pid"]
    os.kill(dead, signal.SIGKILL)
    seen = await turn
    assert (seen[-1].kind, seen[-1].data["type"].rpartition("/")[2]) == ("error", "agent-crashed")
    config = host.folder / "state" / "sessions" / talk.session_id / "claude"
    assert await asyncio.to_thread(of_session, config, None) == []
    assert texts(await talk.say(script({"text": "back"})))[-1] == "back"
    assert "osprey" in str(model.bodies[-1]["messages"][0])
    state = await talk.state()
    assert state["pid"] != dead
    assert state["restarts"] == 1
    assert "fault" not in state
    assert state["death"]["reason"] == "AgentCrashed", "whoever looks only now hears of it, too"
    assert state["death"]["exitCode"] == 128 + signal.SIGKILL


async def test_an_idle_cli_that_dies_is_told_of_though_a_message_comes_at_once(host: Host) -> None:
    talk = await host.give()
    await talk.say(script({"text": "one"}))
    os.kill((await talk.state())["pid"], signal.SIGKILL)
    said = texts(await talk.say(script({"text": "two"})))
    assert said[-1:] in ([], ["two"]), "it may have been asked before it was found dead"
    assert (await talk.state())["death"]["reason"] == "AgentCrashed"


async def test_a_stream_is_taken_up_where_it_was_left(host: Host, tmp_path: Path) -> None:
    talk, gate = await host.give(), tmp_path / "gate"
    whole = asyncio.create_task(
        talk.say(script({"text": "a", "tool": "Bash", "input": gated(gate)["input"]}, {"text": "b"}))
    )
    await reached(gate)
    async with talk.open("GET", "/events", headers={"Last-Event-ID": "0"}) as answer:
        stream = events(answer)
        lost = await anext(stream)
        assert (lost.kind, lost.data["type"].rpartition("/")[2]) == ("error", "events-lost")
        head = await anext(stream)
    gate.touch()
    seen = await whole
    async with talk.open("GET", f"/events?lastEventId={head.id}") as answer:
        rest = [event async for event in take(events(answer), len(seen) - 1)]
    assert [head, *rest] == seen
    # A client that hung up in the middle did not end the turn.
    assert texts(seen)[-1] == "b"


async def take(stream: AsyncIterator[object], count: int) -> AsyncIterator[object]:
    for _ in range(count):
        yield await anext(stream)


async def test_interrupt_ends_the_turn_and_nothing_else(host: Host, tmp_path: Path) -> None:
    talk, gate = await host.give(), tmp_path / "gate"
    assert (await host.json("POST", f"/sessions/{talk.session_id}/interrupt", talk.token))[0] == 409
    turn = asyncio.create_task(talk.say(script(gated(gate), {"text": "never"})))
    await reached(gate)
    pid = (await talk.state())["pid"]
    assert (await host.json("POST", f"/sessions/{talk.session_id}/interrupt", talk.token))[0] == 202
    assert "never" not in texts(await turn)
    assert texts(await talk.say(script({"text": "here"})))[-1] == "here"
    assert (await talk.state())["pid"] == pid


@pytest.mark.requirement("H51")
async def test_a_heavy_process_is_replaced_at_the_end_of_its_turn(host: Host, model: Model) -> None:
    talk = await host.give(settings={"limits": {"recycleMemory": "1Mi"}})
    pid = (await talk.state())["pid"]
    await talk.say("remember: kestrel. " + script({"text": "noted"}))
    state = await talk.until(phase="Idle", restarts=1)
    assert state["pid"] != pid
    await talk.say(script({"text": "still"}))
    assert "kestrel" in str(model.bodies[-1]["messages"][0])


async def test_suspended_it_has_no_process_and_wakes_with_its_history(host: Host, model: Model) -> None:
    talk = await host.give()
    await talk.say("remember: plover. " + script({"text": "noted"}))
    assert (await host.json("POST", f"/sessions/{talk.session_id}/suspend"))[0] == 202
    state = await talk.until(putAway=True)
    assert state["phase"] == "Suspended"
    assert "pid" not in state
    assert (await talk.refused())[0] == 503
    assert (await host.activate(talk.session_id))[0] == 200
    await talk.say(script({"text": "awake"}))
    assert "plover" in str(model.bodies[-1]["messages"][0])


async def test_told_to_stop_it_finishes_the_turn_and_takes_no_other(host: Host, tmp_path: Path) -> None:
    talk, gate = await host.give(), tmp_path / "gate"
    turn = asyncio.create_task(talk.say(script(gated(gate), {"text": "finished"})))
    await reached(gate)
    await host.terminate()
    async with asyncio.timeout(30):
        while (await host.json("GET", "/ready"))[0] != 503:  # noqa: ASYNC110 - another process is waited for
            await asyncio.sleep(0.05)
    assert (await talk.refused())[0] == 503
    gate.touch()
    assert texts(await turn)[-1] == "finished"
    assert await host.ended() == 0
