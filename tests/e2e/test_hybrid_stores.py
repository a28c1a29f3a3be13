"""Hybrid sessions whose store fails, forgets or is shared, or whose pod is lost: never blank, never mixed."""

import asyncio

import pytest

from e2e import manifests
from e2e.api import PODS, SESSIONS, condition
from e2e.gateway import said
from e2e.lab import Labs
from e2e.sizes import size
from e2e.sleepers import is_ready, slept, told, until_durable
from e2e.stage import Stage
from e2e.stores import postgres_store, redis_store
from standin.conversation import digest


@pytest.mark.timeout(600)
def test_a_store_that_is_killed_where_it_stands_is_back(stage: Stage) -> None:
    store = postgres_store(stage.lab)
    store.kill()  # a pod of which nothing was killed yet: the second restart of a container is held back
    store.crash()


@pytest.mark.timeout(600)
@pytest.mark.requirement("H03", "H30")
async def test_a_store_that_was_emptied_is_never_answered_from_nothing(stage: Stage) -> None:
    opened = await asyncio.to_thread(redis_store, stage.lab)
    store = opened.given_to(stage.lab)
    for name, policy in (("strict", "Fail"), ("easy", "StartFresh")):
        spec = {"sessionStore": store, "idleTimeoutSeconds": 5, "onMissingTranscript": policy}
        await slept(stage, name, spec)
        await stage.client(name).say_text(told(0))
    for name in ("strict", "easy"):
        await asyncio.to_thread(stage.asleep, name)
    await asyncio.to_thread(opened.empty)
    status, body = await stage.client("strict").status("POST", "/messages", json={"prompt": told(1)})
    assert status == 503
    assert "TranscriptMissing" in body, body
    strict = stage.lab.session("strict")
    assert (condition(strict, "Stalled")["status"], condition(strict, "Resumed")["status"]) == ("True", "False")
    assert stage.lab.model_requests(strict) == 1
    async with stage.client("easy").call("POST", "/messages", json={"prompt": told(1)}) as answer:
        assert answer.status == 200
        assert answer.headers["X-Agentsessions-Session"] == "lost"
        await answer.read()
    easy = stage.lab.until("easy", lambda s: condition(s, "Resumed").get("status") == "False", "Resumed=False")
    assert condition(easy, "Resumed")["reason"] == "TranscriptMissing"
    await gives_its_pod_back(stage, "strict")


async def gives_its_pod_back(stage: Stage, name: str) -> None:
    """A session that was woken in vain costs nothing after a while; a message tries again, and is told the same."""
    found = await asyncio.to_thread(stage.lab.until, name, lambda s: "host" not in s["status"], "the end of its pod")
    for pod in stage.lab.pods(found):
        await asyncio.to_thread(stage.lab.gone_pod, pod)
    wakes = found["status"]["wakes"]
    assert (condition(found, "Ready")["reason"], condition(found, "Stalled")["status"]) == ("TranscriptMissing", "True")
    status, body = await stage.client(name).status("POST", "/messages", json={"prompt": told(1)})
    assert (status, "TranscriptMissing" in body) == (503, True), body
    again = stage.lab.session(name)
    assert (again["status"]["wakes"], stage.lab.model_requests(again)) == (wakes + 1, 1)
    stage.lab.api.patch(SESSIONS, stage.lab.namespace, name, {"spec": {"onMissingTranscript": "StartFresh"}})
    ready = await asyncio.to_thread(stage.lab.until, name, is_ready, "readiness")
    assert ready["status"]["wakes"] == wakes + 1
    assert said(await stage.client(name).say_text(told(2))) == ["answer 2"]


@pytest.mark.timeout(600)
@pytest.mark.requirement("H30", "H31")
async def test_what_a_store_loses_behind_our_back_it_is_given_again(stage: Stage) -> None:
    opened = await asyncio.to_thread(redis_store, stage.lab)
    spec = {"sessionStore": opened.given_to(stage.lab), "idleTimeoutSeconds": 15}
    session = await slept(stage, "robbed", spec)
    client = stage.client("robbed")
    await client.say_text(told(0))
    await asyncio.to_thread(opened.lose, str(session["metadata"]["uid"]), 3)
    await client.say_text(told(1))
    slept_again = await asyncio.to_thread(stage.asleep, "robbed")
    assert condition(slept_again, "TranscriptDurable")["status"] == "True"
    await client.say_text(told(2))
    found = stage.lab.session("robbed")
    assert condition(found, "Resumed")["reason"] == "TranscriptFound"
    assert stage.lab.model_heard(found) == [digest(told(number)) for number in range(3)]


@pytest.mark.timeout(600)
@pytest.mark.requirement("H30", "H31")
async def test_a_store_that_is_down_for_a_while_costs_nothing_but_time(stage: Stage) -> None:
    opened = await asyncio.to_thread(redis_store, stage.lab)
    spec = {"sessionStore": opened.given_to(stage.lab), "idleTimeoutSeconds": 15}
    await slept(stage, "patient", spec)
    client = stage.client("patient")
    await client.say_text(told(0))
    with opened.stopped():
        events = await client.say_text(told(1))
        assert said(events) == ["answer 1"]
        assert events[-1].data == {"transcriptDurable": False}
        behind = await until_durable(stage, "patient", "False")
        assert condition(behind, "TranscriptDurable")["reason"] == "StoreUnreachable"
        await asyncio.sleep(size(16, 60))
        assert condition(stage.lab.session("patient"), "Ready")["reason"] == "Running"
    await until_durable(stage, "patient", "True")
    await asyncio.to_thread(stage.asleep, "patient")
    await client.say_text(told(2))
    heard = stage.lab.model_heard(stage.lab.session("patient"))
    assert heard == [digest(told(number)) for number in range(3)]


@pytest.mark.timeout(600)
@pytest.mark.requirement("H30", "H31")
async def test_a_store_that_takes_five_seconds_for_everything_is_waited_for(stage: Stage) -> None:
    opened = await asyncio.to_thread(redis_store, stage.lab)
    spec = {"sessionStore": opened.given_to(stage.lab), "idleTimeoutSeconds": 5}
    await slept(stage, "slow", spec)
    client = stage.client("slow")
    with opened.slowed(5):
        for number in range(2):
            assert said(await client.say_text(told(number))) == [f"answer {number}"]
    await asyncio.to_thread(stage.asleep, "slow")
    await client.say_text(told(2))
    heard = stage.lab.model_heard(stage.lab.session("slow"))
    assert heard == [digest(told(number)) for number in range(3)]


@pytest.mark.timeout(600)
@pytest.mark.requirement("H31", "K02")
async def test_a_pod_that_is_lost_in_a_turn_loses_nothing_acknowledged(stage: Stage) -> None:
    opened = await asyncio.to_thread(redis_store, stage.lab)
    spec = {"sessionStore": opened.given_to(stage.lab), "idleTimeoutSeconds": 3600}
    await slept(stage, "tough", spec)
    client = stage.client("tough")
    await client.say_text(told(0))
    pod = stage.lab.session("tough")["status"]["host"]["pod"]
    cut = asyncio.create_task(client.say(manifests.bash("touch /tmp/here; sleep 600", timeout=600_000)))
    await asyncio.to_thread(
        stage.lab.execute, pod, "sh", "-c", "until [ -e /tmp/*/here ] || [ -e /tmp/here ]; do sleep 0.1; done"
    )
    await asyncio.sleep(1)
    stage.lab.api.delete(PODS, stage.lab.namespace, pod, gracePeriodSeconds=0)
    with pytest.raises(Exception):  # noqa: B017, PT011 - however the client's library puts it
        await cut
    found = await asyncio.to_thread(
        stage.lab.until,
        "tough",
        lambda s: condition(s, "Ready").get("reason") == "Running" and s["status"]["host"]["pod"] != pod,
        "another pod",
    )
    assert "interrupted" in condition(found, "Resumed")["message"]
    assert stage.lab.event("tough", "TurnInterrupted")
    await client.say_text(told(1))
    heard = stage.lab.model_heard(stage.lab.session("tough"))
    assert heard[0] == digest(told(0))
    assert heard[-1] == digest(told(1))
    assert len(heard) == len(set(heard))


@pytest.mark.timeout(600)
@pytest.mark.requirement("H03", "K04")
async def test_namesakes_of_two_namespaces_never_meet_in_a_store(stage: Stage, labs: Labs) -> None:
    with labs() as other_lab:
        other = Stage.built(other_lab, stage.gateway)
        opened = await asyncio.to_thread(redis_store, stage.lab)
        for number, one in enumerate((stage, other)):
            spec = {"sessionStore": opened.given_to(one.lab), "idleTimeoutSeconds": 5}
            await slept(one, "twin", spec)
            await one.client("twin").say_text(told(number))
        for one in (stage, other):
            await asyncio.to_thread(one.asleep, "twin")
        for number, one in enumerate((stage, other)):
            await one.client("twin").say_text(told(10 + number))
            heard = one.lab.model_heard(one.lab.session("twin"))
            assert heard == [digest(told(number)), digest(told(10 + number))]
        stranger = other.client("twin")
        theirs = type(stranger)(stranger.base, stage.client("twin").path, other.token)
        for verb, path in (("POST", "/messages"), ("POST", "/interrupt"), ("GET", "/events"), ("GET", "/transcript")):
            body = {"json": {"prompt": "x"}} if verb == "POST" else {}
            assert (await theirs.status(verb, path, **body))[0] == 404, path
