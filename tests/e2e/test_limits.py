"""Limits are real: memory, disk, time and turns end an agent, alone, and the status says which."""

import asyncio
import itertools
import json

import pytest

from e2e import manifests
from e2e.api import NAMESPACES, NODES, PODS, QUOTAS, SESSIONS, ApiError, Json, condition
from e2e.gateway import said
from e2e.install import BOUNDED, TENANT, TENANT_LABEL
from e2e.lab import Lab, Labs, gated
from e2e.manifests import TOOL_RESULT, bash, say, subagent
from e2e.sleepers import slept, told
from e2e.stage import Stage
from e2e.stores import redis_store
from e2e.waiting import eventually, wait_for

_EATER = "python3 -c \"import time; x = bytearray({mb} * 2**20); x[::4096] = b'1' * len(x[::4096]); time.sleep({s})\""


@pytest.mark.requirement("H20", "H50", "K02")
def test_an_agent_that_eats_memory_is_killed_alone(lab: Lab) -> None:
    """Many small processes, so that the kernel's victim is the biggest: the CLI. Its neighbours on the node live on."""
    node = lab.api.list(NODES)[0]["metadata"]["labels"]["kubernetes.io/hostname"]
    place = {"kubernetes.io/hostname": node}
    lab.neighbour(nodeSelector=place)
    lab.start("bystander", steps=(gated(), say("unharmed")), nodeSelector=place)
    bystander = lab.running("bystander")
    eat = f"for i in 1 2 3 4 5 6 7 8 9 10 11 12; do {_EATER.format(mb=60, s=300)} & done; wait"
    steps = (bash(eat), say("never"))
    found = lab.run("eater", steps=steps, resources={"memory": "640Mi"}, backoffLimit=1, nodeSelector=place)
    status = found["status"]
    assert condition(found, "Succeeded")["status"] == "False"
    assert status["lastTermination"]["reason"] == "OOMKilled"
    assert "resources.memory" in status["lastTermination"]["message"]
    assert (status["restarts"], status["failures"]) == (1, 2)
    assert status["oomKills"] >= 2
    neighbour = lab.api.get(PODS, lab.namespace, "neighbour")
    assert neighbour is not None
    assert neighbour["status"]["phase"] == "Running"
    assert neighbour["status"]["containerStatuses"][0]["restartCount"] == 0
    lab.open_gate(bystander)
    assert lab.succeeded("bystander")["status"]["restarts"] == 0


@pytest.mark.requirement("H20", "K02")
def test_a_tool_that_eats_memory_is_reported_while_the_agent_lives(lab: Lab) -> None:
    """One big process is the victim itself; the agent sees its tool fail and goes on. Status still counts it."""
    steps = (bash(f"{_EATER.format(mb=1500, s=1)}; echo code $?"), {"text": TOOL_RESULT})
    found = lab.run(steps=steps, resources={"memory": "640Mi"})
    assert condition(found, "Succeeded")["status"] == "True"
    assert "code 137" in found["status"]["result"]["text"]
    assert found["status"]["oomKills"] == 1


@pytest.mark.requirement("H50")
@pytest.mark.parametrize(
    ("second", "bound", "more", "reason"),
    [
        (bash("true"), {"agent": {"maxTurns": 2}}, {"agent": {"maxTurns": 20}}, "MaxTurnsExceeded"),
        (
            gated(),
            {"limits": {"activeDeadlineSeconds": 40}},
            {"limits": {"activeDeadlineSeconds": 900}},
            "DeadlineExceeded",
        ),
    ],
    ids=["turns", "deadline"],
)
def test_a_task_that_has_a_volume_goes_on_where_it_ended_when_it_gets_more(
    lab: Lab, second: Json, bound: Json, more: Json, reason: str
) -> None:
    steps = (bash("echo once >> log"), second, bash("cat log"), {"text": TOOL_RESULT})
    over = lab.run(steps=steps, workspace={"storage": "64Mi"}, **bound)
    assert condition(over, "Ready")["reason"] == reason
    lab.api.patch(SESSIONS, lab.namespace, "task", {"spec": more})
    lab.until("task", lambda one: "completionTime" not in one["status"], "its next attempt")
    found = lab.succeeded()
    assert found["status"]["restarts"] == 1
    assert found["status"]["result"]["text"].split() == ["once"]


@pytest.mark.requirement("H50")
def test_the_deadline_ends_a_session(lab: Lab) -> None:
    """A session never times out by itself; the wall clock is the operator's."""
    found = lab.run(steps=(gated(), say("never")), limits={"activeDeadlineSeconds": 12})
    assert condition(found, "Ready")["reason"] == "DeadlineExceeded"
    assert condition(found, "Stalled")["status"] == "True"
    assert "activeDeadlineSeconds" in condition(found, "Ready")["message"]
    assert found["status"]["restarts"] == 0
    lab.gone(PODS, found["status"]["host"]["pod"])


@pytest.mark.requirement("K02", "H50")
def test_a_pod_that_finds_no_node_in_time_ends_the_session_with_the_schedulers_words(lab: Lab) -> None:
    found = lab.run(resources={"cpu": "900"}, limits={"startDeadlineSeconds": 5})
    ready = condition(found, "Ready")
    assert ready["reason"] == "StartDeadlineExceeded"
    assert "limits.startDeadlineSeconds" in ready["message"]
    assert "Insufficient cpu" in ready["message"]
    assert lab.event("task", "StartDeadlineExceeded")["type"] == "Warning"
    assert lab.pods(found) == []


@pytest.mark.requirement("K02", "H50")
def test_no_more_sessions_run_than_may_and_those_that_wait_start_by_priority(labs: Labs) -> None:
    """Two have the places; of three that wait the latest is the most urgent. One place becomes free for all three."""
    with labs(name=BOUNDED) as lab:
        for name in ("one", "two"):
            lab.start(name, steps=(gated(), say("done")))
            gate = lab.at_gate(name)
        for name, priority, position in (("low", 0, 1), ("lowest", -5, 2), ("urgent", 5, 1)):
            lab.start(name, priority=priority)
            found = lab.reason(name, "Queued")
            place = found["status"]["queue"]
            assert (place["position"], place["priority"]) == (position, priority)
            assert place["reason"] == f"namespace {BOUNDED} runs 2 of 2"
            assert place["reason"] in condition(found, "Ready")["message"]
            assert lab.pods(found) == []
        lab.open_gate(gate)
        ran = [lab.succeeded(name)["status"] for name in ("two", "urgent", "low", "lowest")]
        for before, after in itertools.pairwise(ran):
            assert before["completionTime"] <= after["startTime"], "one place, one after the other, by priority"
        assert [status["restarts"] for status in ran] == [0, 0, 0, 0]
        assert "queue" not in ran[-1]
        lab.open_gate(lab.running("one"))
        lab.succeeded("one")


@pytest.mark.requirement("K02", "H50")
def test_the_namespaces_of_a_tenant_share_its_places(labs: Labs) -> None:
    with labs() as one, labs() as other:

        def looks() -> float:
            """Return how often the operator has read which namespaces are a tenant's."""
            name, labels = "agentsessions_kubernetes_requests_total", {"verb": "GET", "resource": "namespaces"}
            found = [x for x in one.operator.metrics() if x.name == name and labels.items() <= x.labels.items()]
            return sum(sample.value for sample in found)

        for lab in (one, other):
            lab.api.patch(NAMESPACES, None, lab.namespace, {"metadata": {"labels": {TENANT_LABEL: TENANT}}})
        before = looks()
        one.start(steps=(gated(), say("done")))
        gate = one.at_gate()
        eventually(looks, lambda count: count > before, "a look at namespaces")
        other.start()
        queued = other.reason("task", "Queued")
        assert queued["status"]["queue"]["reason"] == f"tenant {TENANT} runs 1 of 1"
        assert other.pods(queued) == []
        one.open_gate(gate)
        assert one.succeeded()["status"]["completionTime"] <= other.succeeded()["status"]["startTime"]


@pytest.mark.timeout(600)
@pytest.mark.requirement("K02", "H50")
def test_how_many_sessions_there_may_be_is_a_resource_quota(lab: Lab) -> None:
    """Kubernetes itself counts them and refuses; sleeping ones count, and deleted ones do not."""
    number = "count/agentsessions.agentsessions.dev"
    lab.api.create(manifests.quota(lab.namespace, **{number: 1}))
    # Where CRDs are new to the controller that counts, it may begin with its next round, every five minutes.
    wait_for(lab.api, QUOTAS, lab.namespace, "pods", _has_counted, "its first count", 360)
    store = {"type": "Embedded"}
    lab.api.create(manifests.hybrid(lab.namespace, "first", sessionStore=store))
    with pytest.raises(ApiError, match="exceeded quota: pods") as refusal:
        lab.api.create(manifests.hybrid(lab.namespace, "second", sessionStore=store))
    assert refusal.value.code == 403
    lab.api.delete(SESSIONS, lab.namespace, "first")
    lab.gone(SESSIONS, "first")
    eventually(lambda: _is_taken(lab, store), bool, "room for another one", 360)


def _has_counted(quota: Json | None) -> bool:
    """Return whether a quota is in force: before its first count it refuses everything."""
    return "used" in (quota or {}).get("status", {})


def _is_taken(lab: Lab, store: Json) -> bool:
    """Return whether a session is accepted."""
    try:
        lab.api.create(manifests.hybrid(lab.namespace, "second", sessionStore=store))
    except ApiError as error:
        if "exceeded quota" not in error.message:
            raise
        return False
    return True


@pytest.mark.requirement("H10", "H50")
def test_turns_are_bounded(lab: Lab) -> None:
    """Three are allowed; the fourth never happens, and what was used is still told."""
    steps = tuple(bash(f"echo {number} >> turns; wc -l < turns") for number in range(8))
    found = lab.run(steps=steps, agent={"maxTurns": 3})
    assert condition(found, "Ready")["reason"] == "MaxTurnsExceeded"
    assert condition(found, "Succeeded")["status"] == "False"
    assert found["status"]["restarts"] == 0
    assert lab.model_requests(found) == 3
    assert found["status"]["usage"]["turns"] >= 3
    assert float(found["status"]["usage"]["costUsd"]) > 0


@pytest.mark.requirement("H20", "K02")
def test_disk_over_the_limit_is_evicted_and_reported(lab: Lab) -> None:
    """The node measures now and then, so this takes up to two minutes."""
    fill = "dd if=/dev/zero of=/workspace/big bs=1M count=400 2>&1; sleep 600"
    lab.start(
        steps=(bash(fill, timeout=600_000), say("never")),
        resources={"ephemeralStorage": "128Mi"},
        restartPolicy="Never",
    )
    found = lab.finished(seconds=300)
    assert condition(found, "Ready")["reason"] == "EphemeralStorageExceeded"
    assert condition(found, "Succeeded")["status"] == "False"
    assert "128Mi" in condition(found, "Ready")["message"]


@pytest.mark.requirement("H38", "H52", "H53")
def test_a_fan_out_is_worked_off_in_batches_by_subagents_that_are_bounded(lab: Lab) -> None:
    """Four parts, two at a time; a fifth wants more turns than it may have. The agent waits for all of them."""
    part = subagent("worker", bash("echo + >> parts; sleep 2; echo - >> parts"), say("part done"))
    endless = subagent("worker", *[bash("echo turn >> turns")] * 6, say("never"))
    count = "awk '{n += $1 == \"+\" ? 1 : -1; if (n > m) m = n} END {print m, NR}' parts; wc -l < turns"
    steps = ({"text": "all at once", "tools": [part] * 4}, endless, bash(count), {"text": TOOL_RESULT})
    worker = {"name": "worker", "description": "Does a part.", "prompt": "You do one part.", "maxTurns": 3}
    found = lab.run(steps=steps, agent={"subagents": [worker], "maxParallelSubagents": 2})
    assert condition(found, "Succeeded")["status"] == "True"
    assert found["status"]["result"]["text"].split() == ["2", "8", "3"]


@pytest.mark.timeout(300)
@pytest.mark.requirement("H50", "H51")
async def test_a_conversation_at_its_bounds_goes_on_when_they_are_raised(stage: Stage) -> None:
    """Two turns, each in a process of its own, then nothing wakes it; with more of them one takes too long."""
    opened = await asyncio.to_thread(redis_store, stage.lab)
    limits = {"maxSessionTurns": 2, "recycleMemory": "50Mi"}
    spec = {"sessionStore": opened.given_to(stage.lab), "idleTimeoutSeconds": 5, "limits": limits}
    await slept(stage, "bounded", spec)
    client = stage.client("bounded")
    assert said(await client.say_text(told(0))) == ["answer 0"]
    async with asyncio.timeout(60):
        while (await client.state()).get("restarts") != 1:  # noqa: ASYNC110 - its host has no event for this
            await asyncio.sleep(0.2)
    assert said(await client.say_text(told(1))) == ["answer 1"]
    await asyncio.to_thread(stage.lab.reason, "bounded", "TurnLimitReached")
    await client.refused("turn-limit-reached")
    spent = await asyncio.to_thread(stage.lab.until, "bounded", lambda one: "host" not in one["status"], "sleep")
    await client.refused("turn-limit-reached")
    assert condition(spent, "Stalled")["status"] == "True"
    more = {"spec": {"limits": {"maxSessionTurns": 100, "turnDeadlineSeconds": 12}}}
    stage.lab.api.patch(SESSIONS, stage.lab.namespace, "bounded", more)
    assert (await asyncio.to_thread(stage.lab.reason, "bounded", "Asleep"))["status"]["wakes"] == 1
    assert said(await client.say_text(told(2))) == ["answer 2"]
    late = await client.say(gated(), say("never"))
    assert (late[-1].kind, late[-1].slug) == ("error", "turn-deadline-exceeded")
    await asyncio.to_thread(stage.lab.event, "bounded", "TurnDeadlineExceeded")
    assert said(await client.say_text(told(3))) == ["answer 3"]
    transcript = json.dumps(await client.transcript())
    assert all(f"answer {number}" in transcript for number in range(4))
