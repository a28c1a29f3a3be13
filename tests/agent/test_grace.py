"""A task whose pod is told to stop: it may end by itself within the grace, is interrupted before that is over."""

import os
import signal
import time

import pytest

from agent.container import Container, Running
from agent.host import events, texts
from agent.model import Model, script
from agent.talker import Talker, answer, rest
from agentsessions.api.host import PROBLEM_PREFIX

pytestmark = pytest.mark.timeout(180)

GRACE = "AGENTSESSIONS_GRACE_SECONDS"


@pytest.fixture
def talker(container: Container) -> Talker:
    """Return a client of a container that has a minute to end."""
    container.environment[GRACE] = "60"
    return Talker(container)


async def stopping(running: Running) -> None:
    """Tell the pod to stop, and wait until it knows."""
    running.signal(signal.SIGTERM)
    await running.event("stopping")


@pytest.mark.requirement("K02")
async def test_a_task_that_ends_within_the_grace_is_done(talker: Talker, model: Model) -> None:
    """Requests and tool calls that follow are made, too: all of them are one turn."""
    prompt = script(talker.waits, {"tool": "Bash", "input": {"command": "true"}}, answer("finished"))
    async with talker.started(prompt) as running:
        await stopping(running)
        talker.open_gate()
        ended = await running.ended()
    assert (ended.exit_code, ended.report.reason) == (0, "Completed")
    assert ended.report.result is not None
    assert ended.report.result.text == "finished"
    assert model.requests(talker.container.session_id) == 3


@pytest.mark.requirement("K02")
async def test_a_task_that_takes_longer_is_interrupted_while_there_is_grace_to_report(talker: Talker) -> None:
    talker.container.environment[GRACE] = "25"
    async with talker.started(script(talker.waits, answer("never"))) as running:
        await stopping(running)
        begun = time.monotonic()
        ended = await running.ended()
        took = time.monotonic() - begun
    assert (ended.exit_code, ended.report.reason, ended.report.retryable) == (1, "Interrupted", True)
    assert ended.report.usage.input_tokens >= 1000
    assert 4 < took < 24


@pytest.mark.parametrize("seconds", ["0", "20"], ids=["safe", "none-to-spare"])
async def test_without_grace_to_spare_a_task_is_interrupted_at_once(talker: Talker, seconds: str) -> None:
    talker.container.environment[GRACE] = seconds
    async with talker.started(script(talker.waits, answer("never"))) as running:
        await stopping(running)
        ended = await running.ended()
    assert next(one for one in ended.events if one["event"] == "stopping")["turnMayTakeSeconds"] == 0
    assert ended.report.reason == "Interrupted"


@pytest.mark.requirement("H50")
async def test_what_is_stopped_at_its_deadline_is_interrupted_at_once(container: Container) -> None:
    container.environment |= {GRACE: "600", "AGENTSESSIONS_DEADLINE_SECONDS": "100"}
    container.write(script({"tool": "Bash", "input": {"command": "tail -f /dev/null"}}, answer("never")))
    long_ago = time.time() - 100
    os.utime(container.session / "session.json", (long_ago, long_ago))
    async with container.started() as running:
        await running.event("toolUse")
        await stopping(running)
        ended = await running.ended()
    assert (ended.exit_code, ended.report.reason) == (1, "Interrupted")


@pytest.mark.requirement("H10", "K02")
async def test_those_who_wait_are_told_at_once_and_those_who_follow_see_the_end(talker: Talker) -> None:
    async with (
        talker.started(script(talker.waits, answer("finished"))) as running,
        talker.call("GET", "/events") as reply,
    ):
        async with talker.said(script(answer("never"))) as turn:
            await stopping(running)
            told = await rest(turn)
        assert await talker.refusal("POST", "/messages", json={"prompt": "hello"}) == (503, "draining")
        talker.open_gate()
        seen = await rest(events(reply))
        ended = await running.ended()
    assert [(event.kind, event.data["type"]) for event in told] == [("error", PROBLEM_PREFIX + "draining")]
    assert texts(seen)[-1] == "finished"
    assert (ended.exit_code, ended.report.result and ended.report.result.text) == (0, "finished")


async def test_what_a_client_interrupts_within_the_grace_is_not_tried_again(talker: Talker) -> None:
    async with talker.started(script(talker.waits, answer("never"))) as running:
        await stopping(running)
        async with talker.call("POST", "/interrupt") as reply:
            assert reply.status == 202
        ended = await running.ended()
    assert (ended.exit_code, ended.report.reason, ended.report.retryable) == (64, "Interrupted", False)
