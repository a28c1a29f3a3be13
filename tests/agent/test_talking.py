"""A session in a pod of its own is talked to while its task runs: the same CLI answers, and the books stay right."""

import os
import signal
import socket

import aiohttp
import pytest

from agent.container import Container
from agent.host import ControlPlane, _free_port, events, texts
from agent.model import Model, script
from agent.talker import Talker, answer, bash, rest
from agentsessions.api.host import PROBLEM_PREFIX, Scope
from agentsessions.api.status import Result, Usage

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def talker(container: Container) -> Talker:
    """Return a client of a container that can be talked to."""
    return Talker(container)


@pytest.mark.requirement("H10", "H39")
async def test_a_message_to_a_running_task_is_another_turn_of_the_same_agent(talker: Talker) -> None:
    prompt = script(bash("echo 1 $PPID >> turns"), talker.waits, answer("the task"))
    async with talker.started(prompt) as running:
        cli = running.cli()
        follow_up = script(bash("echo 2 $PPID >> turns"), answer("and more"), around="One more thing.")
        async with talker.said(follow_up) as turn:
            state = await talker.state()
            talker.open_gate()
            seen = await rest(turn)
        ended = await running.ended()
    assert (state["pid"], state["phase"], state["queued"], state["prompts"]) == (cli, "Running", 1, 2)
    assert (texts(seen), seen[-1].kind) == (["and more"], "done")
    assert talker.container.workspace.joinpath("turns").read_text() == f"1 {cli}\n2 {cli}\n"
    assert (ended.exit_code, ended.report.reason) == (0, "Completed")
    assert ended.report.result == Result(text="and more", stop_reason="end_turn")
    assert ended.report.usage == Usage(turns=5, input_tokens=5000, output_tokens=500, cost_usd="0.03")


@pytest.mark.requirement("H10")
async def test_those_who_follow_see_the_turn_of_the_prompt_and_its_end(talker: Talker) -> None:
    async with (
        talker.started(script(talker.waits, answer("the task"))) as running,
        talker.call("GET", "/events") as reply,
    ):
        talker.open_gate()
        seen = await rest(events(reply))
        ended = await running.ended()
    assert (texts(seen), seen[-1].kind) == (["the task"], "done")
    assert ended.exit_code == 0


async def test_the_turn_of_the_prompt_can_be_read_again_from_its_start(talker: Talker) -> None:
    async with talker.started(script(talker.waits, answer("the task"))) as running:
        async with talker.call("GET", "/events?lastEventId=before-0") as reply:
            talker.open_gate()
            seen = await rest(events(reply))
        await running.ended()
    assert seen[0].kind == "error"
    assert seen[1].id.endswith("-1")
    assert (texts(seen), seen[-1].kind) == (["the task"], "done")


@pytest.mark.requirement("H10")
async def test_once_the_task_is_over_messages_are_refused(talker: Talker, model: Model) -> None:
    async with talker.started(script(talker.waits, answer("the task"))) as running:
        async with talker.said(script(answer("last"))) as turn:
            talker.open_gate()
            await rest(turn)
        requests = model.requests(talker.container.session_id)
        try:
            found = await talker.refusal("POST", "/messages", json={"prompt": "Too late."})
        except aiohttp.ClientConnectionError:
            found = (410, "session-finished")  # the process has left already
        ended = await running.ended()
    assert found == (410, "session-finished")
    assert ended.report.result is not None
    assert ended.report.result.text == "last"
    assert model.requests(talker.container.session_id) == requests


async def test_each_prompt_has_its_own_bound_of_turns(talker: Talker) -> None:
    prompt = script(talker.waits, answer("the task"))
    async with talker.started(prompt, {"maxTurns": 2}) as running:
        async with talker.said(script(bash("true"), answer("again two turns"))) as turn:
            talker.open_gate()
            await rest(turn)
        ended = await running.ended()
    assert (ended.exit_code, ended.report.reason, ended.report.usage.turns) == (0, "Completed", 4)


async def test_messages_that_a_failure_leaves_unread_are_told_so(talker: Talker) -> None:
    refused = {"error": {"status": 401, "type": "authentication_error", "message": "scripted"}}
    async with talker.started(script(talker.waits, refused)) as running:
        async with talker.said(script(answer("never"))) as turn:
            talker.open_gate()
            seen = await rest(turn)
        ended = await running.ended()
    assert [(event.kind, event.data["type"]) for event in seen] == [("error", PROBLEM_PREFIX + "session-finished")]
    assert (ended.exit_code, ended.report.reason) == (64, "ModelAuthenticationFailed")


async def test_a_follow_up_that_reaches_the_bound_is_the_outcome(talker: Talker) -> None:
    prompt = script(talker.waits, answer("the task"))
    async with talker.started(prompt, {"maxTurns": 2}) as running:
        async with talker.said(script(bash("true"), bash("true"), answer("never"))) as turn:
            talker.open_gate()
            await rest(turn)
        ended = await running.ended()
    assert (ended.exit_code, ended.report.reason, ended.report.result) == (64, "MaxTurnsExceeded", None)


async def test_an_interrupted_prompt_goes_on_with_the_next_message(talker: Talker) -> None:
    async with talker.started(script(talker.waits, answer("never"))) as running:
        async with talker.said(script(answer("the other way"))) as turn:
            async with talker.call("POST", "/interrupt") as reply:
                assert reply.status == 202
            seen = await rest(turn)
        ended = await running.ended()
    assert texts(seen) == ["the other way"]
    assert (ended.exit_code, ended.report.result and ended.report.result.text) == (0, "the other way")


async def test_a_prompt_that_a_client_interrupts_is_not_tried_again(talker: Talker) -> None:
    async with talker.started(script(talker.waits, answer("never"))) as running:
        async with talker.call("POST", "/interrupt") as reply:
            assert reply.status == 202
        ended = await running.ended()
    report = ended.report
    assert (ended.exit_code, report.reason, report.retryable, report.result) == (64, "Interrupted", False, None)


async def test_a_follow_up_that_a_client_interrupts_leaves_the_answer_before_it(talker: Talker) -> None:
    async with talker.started(script(talker.waits, answer("the task"))) as running:
        async with talker.said(script(bash("touch reached; tail -f /dev/null"), answer("never"))) as turn:
            talker.open_gate()
            await running.event("turnEnded")
            await running.event("toolUse")
            async with talker.call("POST", "/interrupt") as reply:
                assert reply.status == 202
            await rest(turn)
        ended = await running.ended()
    assert (ended.exit_code, ended.report.result and ended.report.result.text) == (0, "the task")
    assert ended.report.usage.input_tokens >= 3000


@pytest.mark.requirement("H10", "K02")
async def test_sigterm_tells_those_who_wait_and_the_next_attempt_goes_on(talker: Talker) -> None:
    prompt = script(talker.waits, answer("the task"))
    async with talker.started(prompt) as running:
        async with talker.said(script(answer("never"))) as turn:
            running.signal(signal.SIGTERM)
            seen = await rest(turn)
        ended = await running.ended()
    assert [(event.kind, event.data["type"]) for event in seen] == [("error", PROBLEM_PREFIX + "draining")]
    assert (ended.exit_code, ended.report.reason, ended.report.retryable) == (1, "Interrupted", True)
    talker.open_gate()
    second = await talker.container.run(prompt, attempt=1)
    assert (second.exit_code, second.report.result and second.report.result.text) == (0, "the task")


async def test_after_sigterm_nothing_is_taken(talker: Talker) -> None:
    # A CLI that does not end keeps the pod for the length of an interrupt.
    async with talker.started(script(talker.waits, answer("never"))) as running:
        os.kill(running.cli(), signal.SIGSTOP)
        running.signal(signal.SIGTERM)
        await running.event("stopping")
        found = await talker.refusal("POST", "/messages", json={"prompt": "hello"})
        os.kill(running.cli(), signal.SIGKILL)
        ended = await running.ended()
    assert found == (503, "draining")
    assert ended.report.reason == "Interrupted"


async def test_a_cli_that_dies_is_told_to_those_who_follow(talker: Talker) -> None:
    async with talker.started(script(talker.waits)) as running, talker.call("GET", "/events") as reply:
        os.kill(running.cli(), signal.SIGKILL)
        seen = await rest(events(reply))
        ended = await running.ended()
    assert (seen[-1].kind, seen[-1].data["type"]) == ("error", PROBLEM_PREFIX + "agent-crashed")
    assert (ended.exit_code, ended.report.reason) == (1, "AgentCrashed")


@pytest.mark.requirement("H10", "H25")
async def test_only_tokens_for_this_pod_and_session_open_the_door(talker: Talker) -> None:
    own, other = talker.container.session_id, "00000000-0000-4000-8000-000000000000"
    stranger = ControlPlane(talker.plane.pod_uid)
    tokens = {
        "none": "",
        "another pod's": talker.plane.token(Scope.SESSION, own, aud="another"),
        "another session's": talker.plane.token(Scope.SESSION, other),
        "expired": talker.plane.token(Scope.SESSION, own, iat=1, exp=61),
        "forged": stranger.token(Scope.SESSION, own),
    }
    async with talker.started(script(talker.waits, answer("the task"))) as running:
        found = {name: (await talker.refusal("GET", "", token=token))[0] for name, token in tokens.items()}
        talker.open_gate()
        await running.ended()
    assert found == {"none": 401, "another pod's": 421, "another session's": 403, "expired": 401, "forged": 401}


async def test_what_agents_serve_is_reached_as_on_a_host(talker: Talker) -> None:
    port = _free_port()
    serve = bash(f"echo made > made.txt; python3 -m http.server {port} --bind 127.0.0.1 >/dev/null 2>&1 & sleep 1")
    async with talker.started(script(serve, talker.waits, answer("the task"))) as running:
        await running.event("toolResult")
        token = talker.plane.token(Scope.PORTS, talker.container.session_id, port=port)
        async with talker.call("GET", f"/ports/{port}/made.txt", token=token) as reply:
            found = (reply.status, await reply.text())
        talker.open_gate()
        await running.ended()
    assert found == (200, "made\n")


async def test_the_agent_sees_nothing_of_the_door(talker: Talker) -> None:
    prompt = script(bash("env > env.txt"), talker.waits, answer("the task"))
    async with talker.started(prompt) as running:
        talker.open_gate()
        await running.ended()
    assert "AGENTSESSIONS_" not in talker.container.workspace.joinpath("env.txt").read_text()


async def test_a_port_that_is_taken_costs_the_talk_but_not_the_task(talker: Talker) -> None:
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", talker.port))
        holder.listen()
        ended = await talker.container.run(script(answer("ok")))
    assert ended.exit_code == 0
    assert "notServing" in [event["event"] for event in ended.events]


async def test_keys_without_the_pods_uid_are_refused(talker: Talker) -> None:
    del talker.container.environment["AGENTSESSIONS_POD_UID"]
    ended = await talker.container.run(script(answer("never")))
    assert (ended.exit_code, ended.report.reason) == (64, "InvalidConfiguration")
    assert "AGENTSESSIONS_POD_UID" in ended.report.message
