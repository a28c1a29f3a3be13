"""Sessions that outlive their pods: kept in a store while they go on, found again by the next pod, never blank."""

import asyncio
import json
import os
import shutil
import signal
import time
from decimal import Decimal
from typing import Any

import pytest

from agent.host import Json, Talk, events, texts
from agent.kept import Kept, said
from agent.model import script
from agentsessions.api.host import Scope

pytestmark = pytest.mark.timeout(240)


async def put_away(talk: Talk, wait: str = "true") -> Json:
    """Have the host put a session away; return its state then."""
    status, body = await talk.host.json("POST", f"/sessions/{talk.session_id}/suspend?wait={wait}")
    assert status == 202, body
    return await talk.until(putAway=True)


async def resumed(kept: Kept, talk: Talk, **known: Any) -> Talk:
    """Give a session to the host as the operator does, with what status says of it."""
    return await kept.host.give(talk.session_id, **known)


def remembered(state: Json) -> Json:
    """Return what status would remember of a session."""
    return {"usage": state["usage"], "transcript": state["transcript"]}


@pytest.mark.requirement("H03", "H04", "H12")
async def test_a_conversation_sleeps_and_wakes_in_other_pods_with_all_of_its_history(kept: Kept) -> None:
    talk = await kept.host.give()
    state: Json = {}
    for number in range(6):
        seen = await talk.say(script({"text": f"answer {number}"}, around=f"question {number}"))
        assert seen[-1].kind == "done"
        assert seen[-1].data == {}
        state = await put_away(talk, wait="false")
        assert state["durable"] is True
        status, problem = await talk.refused("too late")
        assert (status, problem["type"].rpartition("/")[2]) == (503, "session-suspended")
        await kept.another_pod()
        talk = await resumed(kept, talk, **remembered(state))
        assert (await talk.state())["beginning"] == "Resumed"
        assert (await talk.state())["usage"] == state["usage"]
    await talk.say(script({"text": "the end"}, around="the last question"))
    sent = said(kept.model)
    places = [sent.index(f"{word} {number}") for number in range(6) for word in ("question", "answer")]
    assert places == sorted(places)
    assert all(sent.count(f'"answer {number}"') == 1 for number in range(6))
    asked = [body for body in kept.model.bodies if "question" in json.dumps(body["messages"][-1])]
    assert len(asked) == 7
    after = await talk.state()
    price = Decimal(after["usage"]["costUsd"])
    assert price > Decimal(state["usage"]["costUsd"])
    assert after["usage"]["turns"] == 7


@pytest.mark.requirement("H03", "H31")
async def test_a_pod_that_is_lost_between_turns_loses_nothing_that_was_acknowledged(kept: Kept) -> None:
    talk = await kept.host.give()
    await talk.say(script({"tool": "Bash", "input": {"command": "echo heron"}}, {"text": "one {{toolResult}}"}))
    before = await talk.state()
    await kept.another_pod()
    # The control plane may know less than the store: its figures are up to a minute old.
    talk = await resumed(kept, talk)
    state = await talk.state()
    assert state["beginning"] == "Resumed"
    assert state["usage"] == before["usage"]
    assert state["transcript"]["entries"] >= before["transcript"]["entries"]
    await talk.say(script({"text": "two"}))
    assert "heron" in said(kept.model)


@pytest.mark.requirement("H31")
async def test_a_cut_turn_is_reported_and_its_message_never_sent_twice(kept: Kept) -> None:
    talk = await kept.host.give()
    await talk.say(script({"text": "first"}), **{"Idempotency-Key": "one"})
    state = await talk.state()
    gate = kept.store / "gate"
    wait = script({"tool": "Bash", "input": {"command": f"touch {gate}; sleep 600"}})
    cut = asyncio.create_task(talk.say(wait, **{"Idempotency-Key": "two"}))
    await kept.in_a_tool(talk, gate)
    await kept.another_pod()
    with pytest.raises(Exception):  # noqa: B017, PT011 - however the client's library puts it
        await cut
    talk = await resumed(kept, talk, **remembered(state))
    found = await talk.state()
    assert (found["beginning"], found["interrupted"]) == ("Resumed", True)
    async with talk.open("GET", "/events") as answer:
        assert answer.headers["X-Agentsessions-Last-Turn"] == "interrupted"
    status, problem = await talk.refused(wait, **{"Idempotency-Key": "two"})
    assert (status, problem["type"].rpartition("/")[2]) == (409, "turn-interrupted")
    asked = len(kept.model.bodies)
    again = await talk.say("whatever", **{"Idempotency-Key": "one"})
    assert [event.kind for event in again] == ["done"]
    assert len(kept.model.bodies) == asked
    await talk.say(script({"text": "third"}))
    assert (await talk.state())["interrupted"] is False
    await kept.another_pod()
    talk = await resumed(kept, talk)
    assert (await talk.state())["interrupted"] is False
    status, problem = await talk.refused(wait, **{"Idempotency-Key": "two"})
    assert (status, problem["type"].rpartition("/")[2]) == (409, "turn-interrupted"), "also when others came after it"


@pytest.mark.requirement("H31")
async def test_a_turn_of_which_the_store_has_not_a_word_is_not_run_twice(kept: Kept) -> None:
    talk = await kept.host.give()
    await talk.say(script({"text": "first"}))
    kept.fault("late")
    effect = kept.store / "effect"
    act = script({"tool": "Bash", "input": {"command": f"echo once >> {effect}; sleep 600"}})
    cut = asyncio.create_task(talk.say(act, **{"Idempotency-Key": "act"}))
    async with asyncio.timeout(60):
        while not effect.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await kept.another_pod()
    with pytest.raises(Exception):  # noqa: B017, PT011 - however the client's library puts it
        await cut
    (kept.store / "late").unlink()
    assert "sleep 600" not in json.dumps(kept.entries(talk.session_id))
    talk = await resumed(kept, talk)
    assert (await talk.state())["interrupted"] is True
    status, problem = await talk.refused(act, **{"Idempotency-Key": "act"})
    assert (status, problem["type"].rpartition("/")[2]) == (409, "turn-interrupted")
    assert effect.read_text() == "once\n"


@pytest.mark.requirement("H31")
async def test_a_cut_turn_goes_on_by_itself_where_that_is_asked_for(kept: Kept) -> None:
    talk = await kept.host.give()
    gate = kept.store / "gate"
    wait = script({"tool": "Bash", "input": {"command": f"touch {gate}; sleep 600"}}, {"text": "went on"})
    cut = asyncio.create_task(talk.say(wait))
    await kept.in_a_tool(talk, gate)
    await kept.another_pod()
    with pytest.raises(Exception):  # noqa: B017, PT011
        await cut
    talk = await resumed(kept, talk, onInterruptedTurn="Continue")
    state = await talk.until(interrupted=False, phase="Idle")
    assert "Continue the task" in said(kept.model)
    assert state["prompts"] == 2


@pytest.mark.requirement("H30", "H31")
async def test_a_store_that_is_down_costs_no_turn_and_is_caught_up_with(kept: Kept) -> None:
    talk = await kept.host.give()
    await talk.say(script({"text": "before"}))
    down = kept.fault("down")
    seen = await talk.say(script({"text": "meanwhile"}))
    assert texts(seen) == ["meanwhile"]
    assert seen[-1].data == {"transcriptDurable": False}
    state = await talk.state()
    assert (state["durable"], state["storeProblem"]) == (False, "StoreUnreachable")
    await talk.host.json("POST", f"/sessions/{talk.session_id}/suspend")
    async with asyncio.timeout(60):
        while (await talk.state()).get("fault", {}).get("reason") != "StoreBehind":  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert (await talk.state())["putAway"] is False
    down.unlink()
    await talk.until(durable=True)
    assert "meanwhile" in json.dumps(kept.entries(talk.session_id))
    seen = await talk.say(script({"text": "after"}))
    assert seen[-1].data == {}
    await kept.another_pod()
    talk = await resumed(kept, talk)
    await talk.say(script({"text": "end"}))
    assert all(word in said(kept.model) for word in ("before", "meanwhile", "after"))


@pytest.mark.requirement("H30", "H31")
@pytest.mark.parametrize("how", ["lost", "emptied"])
async def test_a_store_that_loses_what_it_took_gets_it_back(kept: Kept, how: str) -> None:
    talk = await kept.host.give()
    await talk.say(script({"text": "one"}))
    if how == "lost":
        lose = kept.fault("lose")
        # A store that says yes and keeps nothing can only be found out, not mended, while it goes on so.
        assert (await talk.say(script({"text": "two"})))[-1].kind == "done"
        lose.unlink()
    else:
        for path in kept.store.glob("keys/*/*.jsonl"):
            path.unlink()
    assert (await talk.say(script({"text": "three"})))[-1].data == {}
    assert (await talk.state())["storeRepairs"] >= 1
    await kept.another_pod()
    talk = await resumed(kept, talk)
    await talk.say(script({"text": "end"}))
    assert all(word in said(kept.model) for word in ("one", "three"))


@pytest.mark.requirement("H03", "H30")
@pytest.mark.parametrize(
    ("how", "slug", "beginning"),
    [
        ("emptied", "transcript-missing", "Lost"),
        ("shortened", "transcript-truncated", "Truncated"),
        ("altered", "transcript-diverged", "Diverged"),
    ],
)
async def test_a_conversation_that_is_not_whole_is_never_gone_on_with_in_silence(
    kept: Kept, how: str, slug: str, beginning: str
) -> None:
    talk = await kept.host.give()
    await talk.say(script({"text": "one"}))
    await talk.say(script({"text": "two"}))
    state = await put_away(talk)
    (path,) = kept.store.glob(f"keys/*/{talk.session_id}.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    if how == "emptied":
        path.unlink()
    else:
        changed = lines[:-3] if how == "shortened" else [line.replace("cost-state", "other") for line in lines]
        path.write_text("".join(changed))
    await kept.another_pod()
    asked = len(kept.model.bodies)
    status, problem = await kept.host.activate(talk.session_id, **remembered(state))
    assert (status, problem["type"].rpartition("/")[2]) == (409, slug)
    again = await resumed(kept, talk, onMissingTranscript="StartFresh", **remembered(state))
    assert (await again.state())["beginning"] == beginning
    async with again.open("GET", "/events") as answer:
        assert answer.headers["X-Agentsessions-Session"] == beginning.lower()
    assert len(kept.model.bodies) == asked


@pytest.mark.requirement("H30", "H31")
async def test_a_slow_store_holds_up_the_end_of_a_turn_and_nothing_in_it(kept: Kept) -> None:
    talk = await kept.host.give()
    kept.fault("slow", "3")
    began = time.monotonic()
    steps = [{"tool": "Bash", "input": {"command": f"echo {number}"}} for number in range(6)]
    async with talk.open("POST", "/messages", json={"prompt": script(*steps, {"text": "said"})}) as answer:
        seen = {event.kind: time.monotonic() - began async for event in events(answer)}
    # The last message comes when the agent says it, not after six slow writes; the end waits for the store.
    assert seen["done"] - seen["message"] > 1
    assert seen["message"] < 6 * 3
    assert (await talk.state())["durable"] is True
    await kept.another_pod()
    talk = await resumed(kept, talk)
    await talk.say(script({"text": "end"}))
    assert "said" in said(kept.model)


@pytest.mark.requirement("K02")
async def test_a_process_that_dies_while_its_answer_is_being_stored_is_told_of_and_the_turn_is_done(kept: Kept) -> None:
    talk = await kept.host.give()
    await talk.say(script({"text": "one"}))
    kept.fault("slow", "3")
    kinds, pid = [], (await talk.state())["pid"]
    async with talk.open("POST", "/messages", json={"prompt": script({"text": "two"})}) as answer:
        async for event in events(answer):
            kinds.append(event.kind)
            if event.data.get("type") == "result":
                os.kill(pid, signal.SIGKILL)
    assert kinds[-1] == "done"
    state = await talk.state()
    assert (state["death"]["reason"], state.get("pid"), state["prompts"]) == ("AgentCrashed", None, 2)
    assert state["phase"] == "Suspended", "no CLI waits for a message"
    assert texts(await talk.say(script({"text": "three"})))[-1] == "three"
    answers = [one for one in kept.model.bodies[-1]["messages"] if one["role"] == "assistant"]
    assert "two" in str(answers), "what is done is in the conversation"
    assert (await talk.state())["death"] == state["death"], "it is one death"


@pytest.mark.requirement("H30")
async def test_status_never_remembers_more_than_the_store_has(kept: Kept) -> None:
    talk = await kept.host.give()
    await talk.say(script({"text": "one"}))
    slow = kept.fault("slow", "1.5")
    path = next(kept.store.parent.rglob(f"projects/*/{talk.session_id}.jsonl"))
    turn = asyncio.create_task(talk.say(script({"text": "two"})))
    async with asyncio.timeout(30):
        while json.dumps(kept.entries(talk.session_id)).count("end_turn") < 2:  # noqa: ASYNC110 - the store has no event
            await asyncio.sleep(0.02)
    with path.open("a") as file:  # as the CLI does, which announces only a part of what it writes
        file.write(json.dumps({"type": "last-prompt", "lastPrompt": "x"}) + "\n")
    assert (await turn)[-1].data == {}
    state = await talk.state()
    await kept.another_pod()
    slow.unlink()
    talk = await resumed(kept, talk, **remembered(state))
    assert (await talk.state())["beginning"] == "Resumed"


@pytest.mark.requirement("H03", "H30")
async def test_a_store_that_cannot_be_asked_is_waited_for(kept: Kept) -> None:
    talk = await kept.host.give()
    await talk.say(script({"text": "one"}))
    state = await put_away(talk)
    down = kept.fault("down")
    await kept.another_pod()
    status, problem = await kept.host.activate(talk.session_id, **remembered(state))
    assert status == 503
    assert problem["type"].rpartition("/")[2] == "store-unreachable"
    down.unlink()
    assert (await (await resumed(kept, talk, **remembered(state))).state())["beginning"] == "Resumed"


@pytest.mark.requirement("H12")
async def test_a_fork_begins_with_a_copy_and_goes_its_own_way(kept: Kept) -> None:
    talk = await kept.host.give()
    await talk.say(script({"text": "shared past"}))
    source = await put_away(talk)
    fork = await kept.host.give(None, forkFrom=talk.session_id)
    assert (await fork.state())["beginning"] == "Forked"
    await fork.say(script({"text": "my own"}))
    assert "shared past" in said(kept.model)
    state = await put_away(fork)
    assert state["usage"]["turns"] == 1
    await kept.another_pod()
    fork = await resumed(kept, fork, forkFrom=talk.session_id, **remembered(state))
    assert (await fork.state())["beginning"] == "Resumed"
    await fork.say(script({"text": "still mine"}))
    assert all(word in said(kept.model) for word in ("shared past", "my own"))
    talk = await resumed(kept, talk, **remembered(source))
    await talk.say(script({"text": "the first goes on"}))
    assert "shared past" in said(kept.model)
    assert "my own" not in said(kept.model)


@pytest.mark.requirement("H03")
@pytest.mark.parametrize(("on_delete", "stored"), [("Retain", True), ("Delete", False)])
async def test_what_a_session_that_is_deleted_takes_along_is_not_stored_again(
    kept: Kept, on_delete: str, stored: bool
) -> None:
    """Its host was out of reach when it was deleted, and what was stored of it has been removed since."""
    talk, gate = await kept.host.give(onDelete=on_delete), kept.store / "gate"
    await talk.say(script({"text": "one"}))
    turn = asyncio.create_task(talk.say(script({"tool": "Bash", "input": {"command": f"touch {gate}; sleep 60"}})))
    await kept.in_a_tool(talk, gate)
    await kept.is_quiet(talk)  # what is appended before the host is told to forget the session stays
    shutil.rmtree(kept.store / "keys")
    gone = f"/sessions/{talk.session_id}?files=delete&archive=true"
    assert (await kept.host.json("DELETE", gone))[0] == 202
    async with asyncio.timeout(60):
        while (kept.host.folder / "workspace" / talk.session_id).exists():  # noqa: ASYNC110 - the host removes it
            await asyncio.sleep(0.05)
    assert (await turn)[-1].kind in ("done", "error")
    assert bool(kept.entries(talk.session_id)) is stored


@pytest.mark.requirement("H03")
async def test_what_works_keeps_a_session_awake(kept: Kept) -> None:
    talk = await kept.host.give()
    assert (await talk.state())["idleSince"] is not None
    async with talk.open("GET", "/events"):
        await talk.until(streams=1)
        status, problem = await talk.host.json("POST", f"/sessions/{talk.session_id}/suspend?wait=false")
        assert (status, problem["type"].rpartition("/")[2]) == (409, "session-busy")
        assert "idleSince" not in await talk.state()
    await talk.until(streams=0)
    await talk.say(script({"tool": "Bash", "input": {"command": "nohup sleep 8 >/dev/null 2>&1 &"}}, {"text": "x"}))
    assert "idleSince" not in await talk.state()
    async with asyncio.timeout(30):
        while "idleSince" not in await talk.state():  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    token = talk.host.plane.token(Scope.WATCH)
    assert (await talk.host.json("GET", "/sessions", token))[1]["sessions"][0]["idleSince"]
