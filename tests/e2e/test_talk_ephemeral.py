"""A task in a pod of its own can be talked to while it runs."""

import asyncio

import pytest

from e2e import manifests
from e2e.gateway import Gateway, said
from e2e.lab import Lab, gated
from e2e.stage import Stage


@pytest.mark.requirement("H10")
async def test_a_running_task_is_talked_to_and_counts_it_all(lab: Lab, gateway: Gateway) -> None:
    stage = Stage.built(lab, gateway)
    lab.start("task", steps=(gated("echo task"), manifests.say("the task is done")))
    pod = await asyncio.to_thread(lab.at_gate)
    assert lab.session("task")["status"]["endpoint"].endswith(f"/v1/namespaces/{lab.namespace}/sessions/task")
    client = stage.client("task")
    assert (await client.state())["phase"] == "Running"
    asked = asyncio.create_task(client.say(manifests.say("yes, I am here")))
    async with asyncio.timeout(60):
        while (await client.state()).get("queued") != 1:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    await asyncio.to_thread(lab.open_gate, pod)
    assert said(await asked) == ["yes, I am here"]
    ended = await asyncio.to_thread(lab.succeeded, "task")
    assert ended["status"]["result"]["text"] == "yes, I am here"
    assert ended["status"]["usage"]["turns"] == 3
    async with asyncio.timeout(30):  # until then the gateway leads to a pod that has ended
        while (late := await client.status("POST", "/messages", json={"prompt": "x"}))[0] == 503:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    status, body = late
    assert (status, "session-finished" in body) == (410, True)
