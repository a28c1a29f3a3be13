"""Two pods of one session at a time, on nodes that do not hear of each other: the store takes from the later one."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from agent.host import Talk
from agent.kept import Kept, begun, said
from agent.model import Model, script
from agentsessions.api.host import Scope

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
async def open_pool(tmp_path: Path, model: Model) -> AsyncIterator[Kept]:
    """Return a running host of a pool that serves sessions without a resource."""
    found = Kept(tmp_path, model, implicit={})
    await found.host.start()
    try:
        yield found
    finally:
        await found.host.destroy()


@pytest.mark.requirement("H04", "K02")
async def test_a_pod_that_lives_on_after_its_session_was_taken_up_elsewhere_changes_nothing(kept: Kept) -> None:
    old = await kept.host.give(epoch=1)
    await old.say(script({"text": "first"}))
    gate = kept.store / "gate"
    act = {"command": f"touch {gate}; sleep 600"}
    cut = asyncio.create_task(old.say(script({"tool": "Bash", "input": act}, {"text": "too late"})))
    await kept.in_a_tool(old, gate)
    async with kept.on_another_node() as host:
        new = await host.give(old.session_id, epoch=2)
        assert (await new.state())["beginning"] == "Resumed"
        taken = kept.entries(new.session_id)
        await new.say(script({"text": "second"}))
        seen = await asyncio.wait_for(cut, 60)
        assert seen[-1].kind == "error"
        assert seen[-1].data["type"].endswith("/session-moved")
        status, problem = await old.host.json("GET", f"/sessions/{old.session_id}")
        assert (status, problem["type"].rpartition("/")[2]) == (404, "session-not-found")
        status, problem = await old.host.activate(old.session_id, epoch=1)
        assert (status, problem["type"].rpartition("/")[2], problem["epoch"]) == (409, "session-fenced", 2)
        entries = kept.entries(new.session_id)
        assert entries[: len(taken)] == taken
        assert "[Request interrupted" not in json.dumps(entries), "the end of the turn in the old pod"
        await new.say(script({"text": "third"}))
        assert all(word in said(kept.model) for word in ("first", "second"))
        assert (await new.state())["durable"] is True


@pytest.mark.requirement("H04", "K02")
async def test_a_message_to_a_pod_that_others_believe_lost_is_not_begun(kept: Kept) -> None:
    old = await kept.host.give(epoch=3)
    await old.say(script({"text": "first"}))
    async with kept.on_another_node() as host:
        await host.give(old.session_id, epoch=4)
        effect = kept.store / "effect"
        seen = await old.say(script({"tool": "Bash", "input": {"command": f"touch {effect}"}}, {"text": "second"}))
        assert [event.kind for event in seen] == ["error"]
        assert seen[-1].data["type"].endswith("/session-moved")
        assert not begun(effect)


@pytest.mark.requirement("H04", "K02")
async def test_a_session_without_a_resource_is_written_by_the_host_that_took_it_last(open_pool: Kept) -> None:
    old = Talk(open_pool.host, str(uuid4()), Scope.IMPLICIT)
    await old.say(script({"text": "first"}))
    await open_pool.host.kill()
    await open_pool.host.start()
    gate = open_pool.store / "gate"
    act = {"command": f"touch {gate}; sleep 600"}
    cut = asyncio.create_task(old.say(script({"tool": "Bash", "input": act}, {"text": "too late"})))
    await open_pool.in_a_tool(old, gate)
    async with open_pool.on_another_node() as host:
        new = Talk(host, old.session_id, Scope.IMPLICIT)
        await new.say(script({"text": "second"}))
        seen = await asyncio.wait_for(cut, 60)
        assert seen[-1].kind == "error"
        assert seen[-1].data["type"].endswith("/session-moved")
        assert "[Request interrupted" not in json.dumps(open_pool.entries(new.session_id))
        await new.say(script({"text": "third"}))
        assert all(word in said(open_pool.model) for word in ("first", "second"))
        await old.say(script({"text": "fourth"}))
        assert "third" in said(open_pool.model), "it goes where it is asked for, and has all of it there"
        seen = await new.say(script({"text": "fifth"}))
        assert seen[-1].data["type"].endswith("/session-moved")
