"""Two pods of one session at a time, on nodes that do not hear of each other: the store takes from the later one."""

import asyncio
import json

import pytest

from agent.kept import Kept, begun, said
from agent.model import script

pytestmark = pytest.mark.timeout(240)


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
