"""Conversations with bounds, in the real CLI: what a turn, a life and an age may be, and that nothing is lost."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from agent.host import Host, Talk, texts
from agent.model import Model, script
from agent.test_subagents import WORKER, call

pytestmark = pytest.mark.timeout(120)


def slug(problem: dict[str, object]) -> str:
    return str(problem["type"]).rpartition("/")[2]


async def limits(talk: Talk, **wanted: object) -> None:
    """Give the session other bounds, as the operator does when its spec changes."""
    assert (await talk.host.activate(talk.session_id, settings={"limits": wanted}))[0] == 200


@pytest.mark.requirement("H50")
async def test_a_turn_that_takes_too_long_is_ended_and_the_next_goes_on(host: Host, model: Model) -> None:
    talk = await host.give(settings={"limits": {"turnDeadlineSeconds": 2}})
    pid = (await talk.state())["pid"]
    long = {"tool": "Bash", "input": {"command": "until [ -e never ]; do sleep 0.1; done"}}
    key = {"Idempotency-Key": "long"}
    seen = await talk.say("remember: dunlin. " + script(long, {"text": "never"}), **key)
    assert (seen[-1].kind, slug(seen[-1].data)) == ("error", "turn-deadline-exceeded")
    assert "never" not in texts(seen)
    state = await talk.until(phase="Idle")
    assert state["fault"]["reason"] == "TurnDeadlineExceeded"
    assert [event.kind for event in await talk.say("again", **key)][-1] == "error", "it is not run again"
    assert texts(await talk.say(script({"text": "still here"})))[-1] == "still here"
    state = await talk.state()
    assert (state["pid"], "fault" in state) == (pid, False)
    assert "dunlin" in str(model.bodies[-1]["messages"][0])


@pytest.mark.requirement("H50", "H51")
async def test_a_session_that_has_used_its_turns_takes_no_message_until_it_gets_more(host: Host, model: Model) -> None:
    talk = await host.give(settings={"limits": {"maxSessionTurns": 2}})
    await talk.say("remember: siskin. " + script({"text": "one"}), **{"Idempotency-Key": "first"})
    assert "limit" not in await talk.state()
    assert texts(await talk.say(script({"text": "two"})))[-1] == "two"
    state = await talk.until(phase="Suspended")
    assert (state["limit"], state["usage"]["turns"], "pid" in state) == ("TurnLimitReached", 2, False)
    status, problem = await talk.refused()
    assert (status, slug(problem)) == (409, "turn-limit-reached")
    assert "maxSessionTurns" in problem["detail"]
    again = await talk.say("anything", **{"Idempotency-Key": "first"})
    assert again[-1].kind == "done", "what was answered can still be asked for"
    await limits(talk, maxSessionTurns=3)
    assert texts(await talk.say(script({"text": "three"})))[-1] == "three"
    assert "siskin" in str(model.bodies[-1]["messages"][0])
    assert (await talk.refused())[0] == 409


@pytest.mark.requirement("H50")
async def test_a_session_that_is_too_old_finishes_its_turn_and_tells_those_that_wait(host: Host) -> None:
    end = datetime.now(UTC) + timedelta(seconds=2)
    talk = await host.give(settings={"limits": {"notAfter": end.isoformat()}})
    running = script({"tool": "Bash", "input": {"command": "sleep 3"}}, {"text": "finished"})
    async with talk.open("POST", "/messages", json={"prompt": running}):
        await talk.until(phase="Running")
        waits = await talk.say(script({"text": "never"}))
    assert [slug(event.data) for event in waits] == ["age-limit-reached"]
    assert (await talk.refused())[0] == 409
    async with talk.open("GET", "/transcript") as answer:
        assert "finished" in await answer.text()
    await limits(talk, notAfter=(end + timedelta(hours=1)).isoformat())
    assert texts(await talk.say(script({"text": "younger now"})))[-1] == "younger now"


@pytest.mark.requirement("H50")
async def test_a_turn_that_the_agent_begins_by_itself_ends_the_process_at_the_sessions_turns(host: Host) -> None:
    talk = await host.give(settings={"agent": {"subagents": [WORKER]}, "limits": {"maxSessionTurns": 3}})
    again = call({"delay": 60, "text": "goes on"})
    steps = call({"delay": 2, "text": "done"}), {"text": "started"}, {"text": "another", "tools": [again]}
    await talk.say(script(*steps))
    state = await talk.until(phase="Suspended")
    assert (state["limit"], "pid" in state) == ("TurnLimitReached", False)
    assert state["usage"]["turns"] >= 3
    assert (await talk.refused())[0] == 409
    async with asyncio.timeout(15):
        while "idleSince" not in await talk.state():  # noqa: ASYNC110 - the host is another process
            await asyncio.sleep(0.1)


@pytest.mark.requirement("H50")
async def test_what_has_lost_its_parent_ends_with_the_sessions_turns(host: Host) -> None:
    talk = await host.give(settings={"limits": {"maxSessionTurns": 2}})
    alone = {"tool": "Bash", "input": {"command": "nohup sleep 300 >/dev/null 2>&1 &"}}
    await talk.say(script(alone, {"text": "started"}))
    state = await talk.until(phase="Suspended")
    assert state["limit"] == "TurnLimitReached"
    async with asyncio.timeout(15):
        while "idleSince" not in await talk.state():  # noqa: ASYNC110 - the host is another process
            await asyncio.sleep(0.1)


@pytest.mark.requirement("H50")
async def test_what_goes_on_in_the_background_ends_with_the_sessions_age(host: Host) -> None:
    end = datetime.now(UTC) + timedelta(seconds=6)
    settings = {"agent": {"subagents": [WORKER]}, "limits": {"notAfter": end.isoformat()}}
    talk = await host.give(settings=settings)
    seen = await talk.say(script(call({"delay": 100, "text": "late"}), {"text": "started"}))
    assert (seen[-1].kind, "idleSince" in await talk.state()) == ("done", False)
    state = await talk.until(phase="Suspended")
    assert (state["limit"], "pid" in state) == ("AgeLimitReached", False)
    assert datetime.now(UTC) >= end


@pytest.mark.requirement("H50")
async def test_a_turn_that_the_agent_begins_by_itself_has_a_deadline_too(host: Host) -> None:
    limits = {"turnDeadlineSeconds": 2}
    talk = await host.give(settings={"agent": {"subagents": [WORKER]}, "limits": limits})
    long = {"tool": "Bash", "input": {"command": "touch begun; until [ -e never ]; do sleep 0.1; done"}}
    await talk.say(script(call({"delay": 1, "text": "done"}), {"text": "started"}, long, {"text": "never"}))
    async with asyncio.timeout(60):
        while "fault" not in (state := await talk.state()):  # noqa: ASYNC110 - the host is another process
            await asyncio.sleep(0.1)
    assert state["fault"]["reason"] == "TurnDeadlineExceeded"
    assert (host.folder / "workspace" / talk.session_id / "begun").exists()
    assert texts(await talk.say(script({"text": "still here"})))[-1] == "still here"


@pytest.mark.requirement("H50")
async def test_a_turn_that_uses_up_its_model_turns_says_so_and_the_next_goes_on(host: Host, model: Model) -> None:
    talk = await host.give(settings={"agent": {"maxTurns": 2, "tools": ["Bash"]}})
    again = {"tool": "Bash", "input": {"command": "true"}}
    key = {"Idempotency-Key": "long"}
    seen = await talk.say("remember: linnet. " + script(again, again, again, {"text": "never"}), **key)
    assert (seen[-1].kind, seen[-1].data["reason"]) == ("done", "MaxTurnsExceeded")
    assert "maxTurns" in seen[-1].data["message"]
    assert (await talk.state())["fault"]["reason"] == "MaxTurnsExceeded"
    assert (await talk.say("anything", **key))[-1].kind == "done", "it was answered, and is not run again"
    after = await talk.say(script({"text": "still here"}))
    assert (texts(after)[-1], after[-1].data) == ("still here", {})
    assert "fault" not in await talk.state()
    assert "linnet" in str(model.bodies[-1]["messages"][0])


@pytest.mark.requirement("H50")
async def test_a_turn_whose_model_calls_fail_as_often_as_they_may_says_so_too(host: Host, model: Model) -> None:
    talk = await host.give(settings={"agent": {"maxApiRetries": 1}})
    seen = await talk.say("remember: redpoll. " + script({"error": {"status": 529}}))
    assert (seen[-1].kind, seen[-1].data["reason"]) == ("done", "ModelUnavailable")
    assert "maxApiRetries" in seen[-1].data["message"]
    assert (await talk.state())["fault"]["reason"] == "ModelUnavailable"
    assert model.requests(talk.session_id) == 2
    after = await talk.say(script({"text": "back"}))
    assert (texts(after)[-1], after[-1].data) == ("back", {})
    assert "redpoll" in str(model.bodies[-1]["messages"][0])


@pytest.mark.requirement("H50")
async def test_an_interrupted_turn_has_reached_no_bound(host: Host) -> None:
    talk = await host.give(settings={"agent": {"maxTurns": 2}})
    long = {"tool": "Bash", "input": {"command": "until [ -e never ]; do sleep 0.1; done"}}
    turn = asyncio.create_task(talk.say(script(long, {"text": "never"})))
    await talk.until(phase="Running")
    await asyncio.sleep(1)
    async with talk.open("POST", "/interrupt"):
        assert ((seen := await turn)[-1].kind, seen[-1].data) == ("done", {})
    assert "fault" not in await talk.state()
