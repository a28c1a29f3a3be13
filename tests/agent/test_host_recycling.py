"""When a session's process is replaced, and when it is not: always between turns, and the conversation goes on."""

import asyncio
import shlex
import sys

import pytest

from agent.host import Host
from agent.model import Model, script

pytestmark = pytest.mark.timeout(180)


async def recycled(host: Host) -> dict[str, float]:
    """Return how many processes the host says that it has replaced, by why."""
    async with host.call("GET", "/metrics", "") as answer:
        lines = [line for line in (await answer.text()).splitlines() if "host_processes_recycled_total{" in line]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


@pytest.mark.requirement("H51")
async def test_an_old_process_is_replaced_after_its_turn_and_never_in_it(host: Host, model: Model) -> None:
    talk = await host.give(settings={"limits": {"recycleAgeSeconds": 1}})
    pid = (await talk.state())["pid"]
    long = {"tool": "Bash", "input": {"command": "sleep 2; echo $PPID"}}
    seen = await talk.say("remember: curlew. " + script(long, {"text": "by {{toolResult}}"}))
    assert seen[-1].kind == "done"
    assert f"by {pid}" in str(seen[-3:]), "it was older than its age long before the turn was over"
    state = await talk.until(phase="Idle", restarts=1)
    assert state["pid"] != pid
    await talk.say(script({"text": "still"}))
    assert "curlew" in str(model.bodies[-1]["messages"][0])
    assert await recycled(host) == {"age": 1, "memory": 0, "settings": 0}
    assert ("processRecycled", "age") in [(event["event"], event.get("reason")) for event in host.log]


@pytest.mark.requirement("H51")
async def test_a_shell_in_the_background_keeps_no_old_process(host: Host, model: Model) -> None:
    talk = await host.give(settings={"limits": {"recycleAgeSeconds": 1}})
    server = {"tool": "Bash", "input": {"command": "sleep 300", "run_in_background": True}}
    seen = await talk.say("remember: avocet. " + script(server, {"tool": "Bash", "input": {"command": "sleep 1.5"}}))
    assert "local_bash" in str([event.data for event in seen]), "it is not in the background"
    await talk.until(phase="Idle", restarts=1)
    await talk.say(script({"text": "still"}))
    assert "idleSince" in await talk.state(), "the shell has ended with its process"
    assert "avocet" in str(model.bodies[-1]["messages"][0])


@pytest.mark.requirement("H51")
async def test_what_lost_its_parent_weighs_too_and_ends_with_a_process_that_is_too_large(host: Host) -> None:
    talk = await host.give(settings={"limits": {"recycleMemory": "2Gi"}})
    holds = 'held = bytes(1) * (3 << 30); open("held", "w"); import time; time.sleep(300)'
    hog = f"{sys.executable} -c {shlex.quote(holds)}"
    until_held = "until test -e held; do sleep 0.1; done"
    alone = {"tool": "Bash", "input": {"command": f"nohup {hog} >/dev/null 2>&1 & {until_held}"}}
    await talk.say(script(alone, {"text": "started"}))
    await talk.until(phase="Idle", restarts=1)
    assert (await recycled(host))["memory"] == 1
    await talk.say(script({"text": "still"}))
    state = await talk.until(phase="Idle", restarts=1)
    assert "idleSince" in state, "it has nothing in the background any more"


@pytest.mark.requirement("H51")
async def test_within_its_limits_a_process_stays(host: Host) -> None:
    talk = await host.give(settings={"limits": {"recycleAgeSeconds": 3600, "recycleMemory": "8Gi"}})
    pids = set()
    for number in range(3):
        await talk.say(script({"text": f"turn {number}"}))
        pids.add((await talk.until(phase="Idle"))["pid"])
    assert len(pids) == 1
    assert (await talk.state()).get("restarts", 0) == 0


async def test_an_idle_process_is_left_alone_whatever_its_age(host: Host) -> None:
    talk = await host.give(settings={"limits": {"recycleAgeSeconds": 1}})
    pid = (await talk.state())["pid"]
    await asyncio.sleep(2)
    assert (await talk.state())["pid"] == pid
