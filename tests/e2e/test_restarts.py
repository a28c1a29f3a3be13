"""A Hybrid session's own pod: crashes that it outlives in place, and evictions that it allows or does not."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress

import pytest

from e2e import manifests
from e2e.api import BUDGETS, PODS, Json
from e2e.gateway import said
from e2e.killing import autoscaler_marks, refusal
from e2e.sizes import THOROUGH
from e2e.sleepers import pods_of, slept, told, until_durable
from e2e.stage import Stage
from e2e.stores import redis_store
from e2e.terminal import CommandFailed
from standin.conversation import digest

NEVER = "agentsessions-disruption-never"
EATER = "import time; x = bytearray(60 * 2**20); x[::4096] = b'1' * len(x[::4096]); time.sleep(60)"
EATERS = f"""
for host in $(pgrep -f '[a]gentrunner serve'); do echo 1000 > /proc/$host/oom_score_adj; done
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do (python3 -c "{EATER}" > /dev/null 2>&1 &); done
"""
"""Makes the host the kernel's first choice before any of those that eat, which together eat more than there is."""


GLUTTON = "x = bytearray(900 * 2**20); x[::4096] = b'1' * len(x[::4096])"
"""Eats by itself more than there is."""


async def awake(stage: Stage, name: str, **spec: object) -> Json:
    """Return a Hybrid session in a pod of its own, after its first answer."""
    opened = await asyncio.to_thread(redis_store, stage.lab)
    await slept(stage, name, {"sessionStore": opened.given_to(stage.lab), "idleTimeoutSeconds": 3600} | spec)
    assert said(await stage.client(name).say_text(told(0))) == ["answer 0"]
    return await asyncio.to_thread(stage.running, name)


def disruption(stage: Stage, name: str, value: str) -> None:
    """Let a user change the field."""
    patch = json.dumps({"spec": {"disruption": value}})
    where = ("agentsession", name, "-n", stage.lab.namespace)
    stage.lab.terminal.kubectl("patch", *where, "--type", "merge", "--patch", patch)


def failed(times: int) -> Callable[[Json], bool]:
    """Return a test that a session has failed so often in a row."""
    return lambda session: bool(session["status"]["failures"] == times)


def refused(stage: Stage, pod: str) -> int:
    """Ask for the eviction of a pod; return the code with which it is refused, 0 if it is not."""
    return refusal(stage.lab.api, stage.lab.namespace, pod)


@pytest.mark.timeout(300)
@pytest.mark.requirement("K02", "H20")
async def test_a_tool_that_runs_out_of_memory_is_told_and_nothing_else_ends(stage: Stage) -> None:
    before = (await awake(stage, "greedy", resources={"memory": "640Mi"}))["greedy"]
    turn = (manifests.bash(f'python3 -c "{GLUTTON}"; echo ended $?'), manifests.say("after"))
    assert said(await stage.client("greedy").say(*turn))[-1] == "after"
    found = await asyncio.to_thread(
        stage.lab.until, "greedy", lambda s: s["status"].get("oomKills", 0) >= 1, "the count of what was killed"
    )
    assert found["status"]["oomKills"] == 1
    assert found["status"]["restarts"] == 0
    assert "lastTermination" not in found["status"], "neither host nor agent has ended"
    assert found["status"]["host"]["podUID"] == before["status"]["host"]["podUID"]
    await asyncio.to_thread(stage.lab.event, "greedy", "OOMKilled")
    assert said(await stage.client("greedy").say_text(told(1))) == ["answer 1"]


@pytest.mark.timeout(300)
@pytest.mark.requirement("K02", "H03", "H20")
async def test_a_host_that_runs_out_of_memory_is_told_and_the_conversation_goes_on_in_its_pod(stage: Stage) -> None:
    before = (await awake(stage, "hungry", resources={"memory": "640Mi"}))["hungry"]
    pod = before["status"]["host"]["pod"]
    with suppress(CommandFailed):  # it ended with the container
        await asyncio.to_thread(stage.lab.execute, pod, "sh", "-c", EATERS)
    found = await asyncio.to_thread(
        stage.lab.until, "hungry", lambda s: s["status"].get("restarts", 0) >= 1, "the end of its container"
    )
    last = found["status"]["lastTermination"]
    assert (last["reason"], last["exitCode"], last["inPlace"]) == ("OOMKilled", 137, True)
    assert (last["pod"], last["node"]) == (pod, before["status"]["host"]["node"])
    assert last["finishedAt"]
    assert found["status"]["oomKills"] >= 1
    await asyncio.to_thread(stage.lab.event, "hungry", "OOMKilled")
    await asyncio.to_thread(stage.running, "hungry")
    assert said(await stage.client("hungry").say_text(told(1))) == ["answer 1"]
    after = stage.lab.session("hungry")
    assert after["status"]["sessionId"] == before["status"]["sessionId"]
    assert after["status"]["host"]["podUID"] == before["status"]["host"]["podUID"]
    assert len(stage.lab.model_heard(after)) == 2, "the conversation was whole"


@pytest.mark.skipif(
    not THOROUGH, reason="a host is given a minute to answer, and another to end: `make test-thorough` does"
)
@pytest.mark.timeout(400)
@pytest.mark.requirement("K02")
async def test_a_host_that_does_not_answer_is_told_and_started_again_in_its_pod(stage: Stage) -> None:
    before = (await awake(stage, "silent", terminationGracePeriodSeconds=5))["silent"]["status"]["host"]
    await asyncio.to_thread(stage.lab.execute, before["pod"], "pkill", "-STOP", "-f", "[a]gentrunner serve")
    found = await asyncio.to_thread(
        stage.lab.until, "silent", lambda s: s["status"].get("restarts", 0) >= 1, "the end of its container", 240
    )
    last = found["status"]["lastTermination"]
    assert (last["reason"], last["inPlace"], last["pod"]) == ("ProbeFailed", True, before["pod"])
    assert last["node"] == before["node"]
    assert last["finishedAt"]
    await asyncio.to_thread(stage.running, "silent")
    assert said(await stage.client("silent").say_text(told(1))) == ["answer 1"]
    assert len(stage.lab.model_heard(found)) == 2, "the conversation was whole"


@pytest.mark.timeout(300)
@pytest.mark.requirement("K02")
async def test_a_pod_that_must_not_be_evicted_is_not_until_its_session_says_otherwise(stage: Stage) -> None:
    session = (await awake(stage, "precious", disruption="Never"))["precious"]
    pod = session["status"]["host"]["pod"]
    budget = stage.lab.api.get(BUDGETS, stage.lab.namespace, NEVER)
    assert budget is not None
    assert marks(stage, pod) == {"safe-to-evict": "false", "do-not-disrupt": "true"}
    assert refused(stage, pod) == 429
    disruption(stage, "precious", "AtTurnBoundary")

    async with asyncio.timeout(60):
        while refused(stage, pod) == 429:  # noqa: ASYNC110 - the cluster is waited for
            await asyncio.sleep(1)
    found = await asyncio.to_thread(
        stage.lab.until, "precious", lambda s: s["status"].get("host", {}).get("pod", pod) != pod, "another pod"
    )
    assert found["status"]["lastTermination"]["reason"] == "Evicted"
    await asyncio.to_thread(stage.lab.gone, PODS, pod)
    await asyncio.to_thread(stage.running, "precious")
    assert said(await stage.client("precious").say_text(told(1))) == ["answer 1"]
    assert len(stage.lab.model_heard(found)) == 2
    assert pods_of(stage, found) == [stage.lab.session("precious")["status"]["host"]["pod"]]
    assert stage.lab.session("precious")["status"]["failures"] == 0


@pytest.mark.timeout(300)
@pytest.mark.requirement("K02", "H30")
async def test_a_pod_with_what_the_store_lacks_is_not_evicted_until_the_store_has_it(stage: Stage) -> None:
    opened = await asyncio.to_thread(redis_store, stage.lab)
    before = (await awake(stage, "unsaved"))["unsaved"]
    pod = before["status"]["host"]["pod"]
    with opened.stopped():
        assert said(await stage.client("unsaved").say_text(told(1))) == ["answer 1"]
        await until_durable(stage, "unsaved", "False")
        async with asyncio.timeout(60):
            while marked(stage, pod) != "Held":  # noqa: ASYNC110 - the cluster is waited for
                await asyncio.sleep(0.2)
        assert [refused(stage, pod) for _ in range(3)] == [429, 429, 429]
    await until_durable(stage, "unsaved", "True")
    async with asyncio.timeout(60):
        while refused(stage, pod) == 429:  # noqa: ASYNC110 - the cluster is waited for
            await asyncio.sleep(1)
    await asyncio.to_thread(stage.lab.gone, PODS, pod)
    assert said(await stage.client("unsaved").say_text(told(2))) == ["answer 2"]
    after = stage.lab.session("unsaved")
    assert after["status"]["host"]["pod"] != pod
    assert stage.lab.model_heard(after) == [digest(told(number)) for number in range(3)]


def marks(stage: Stage, pod: str) -> dict[str, str]:
    """Return what autoscalers go by."""
    found = stage.lab.api.get(PODS, stage.lab.namespace, pod)
    assert found is not None
    return autoscaler_marks(found)


def marked(stage: Stage, pod: str) -> str:
    """Return the mark that drains go by."""
    found = stage.lab.api.get(PODS, stage.lab.namespace, pod)
    return str(found["metadata"]["labels"]["agentsessions.dev/disruption"]) if found else ""


@pytest.mark.timeout(300)
@pytest.mark.requirement("K02")
async def test_a_crash_loop_ends_as_stalled_and_a_message_tries_again(stage: Stage) -> None:
    """One crash is allowed and another follows, before the node holds restarts back for long."""
    await awake(stage, "fragile", backoffLimit=1)
    for number in (1, 2):
        pod = (await asyncio.to_thread(stage.running, "fragile"))["fragile"]["status"]["host"]["pod"]
        with suppress(CommandFailed):  # it ended with the container
            await asyncio.to_thread(stage.lab.execute, pod, "pkill", "-9", "-f", "[a]gentrunner serve")
        await asyncio.to_thread(stage.lab.until, "fragile", failed(number), f"crash {number}")
    found = await asyncio.to_thread(stage.lab.reason, "fragile", "BackoffLimitExceeded")
    assert found["status"]["lastTermination"]["reason"] == "HostCrashed"
    assert found["status"]["lastTermination"]["exitCode"] == 137
    for one in stage.lab.pods(found):
        await asyncio.to_thread(stage.lab.gone_pod, one)
    assert said(await stage.client("fragile").say_text(told(1))) == ["answer 1"]
    assert len(stage.lab.model_heard(found)) == 2
    stage.lab.terminal.kubectl("delete", "agentsession", "fragile", "-n", stage.lab.namespace, "--wait=false")
