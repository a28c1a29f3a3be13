"""Sessions that share hosts: many at once, and what the death of a host does to them."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import aiohttp
import pytest

from e2e import manifests
from e2e.api import PODS, Json, condition
from e2e.gateway import Client, Event, Gateway, read_events, said
from e2e.lab import Lab, Labs
from e2e.sizes import size
from e2e.stage import Stage, places
from e2e.terminal import CommandFailed

SESSIONS, TURNS, HOSTS = size(12, 20), size(5, 10), 3


@pytest.fixture(scope="module")
def stage(labs: Labs, gateway: Gateway) -> Iterator[Stage]:
    """A pool of three hosts, for all tests of this module."""
    with labs() as lab:
        found = Stage.built(lab, gateway)
        found.pool(replicas=HOSTS, sessionsPerHost=9, drainSeconds=20)
        yield found


async def talk(client: Client, name: str) -> list[tuple[str, int]]:
    """Hold a whole conversation; return the host-side process of each turn."""
    seen, numbers = [], []
    for turn in range(TURNS):
        events = await client.say(manifests.say(f"{name} answer {turn}"))
        assert [event.kind for event in events] == ["message"] * (len(events) - 1) + ["done"]
        numbers += [event.number for event in events]
        assert said(events) == [f"{name} answer {turn}"]
        seen.append((name, int((await client.state())["pid"])))
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "an event is missing, or came twice"
    return seen


def whose(lab: Lab, session: Json, pid: int) -> str:
    """Return the settings directory of a process on the session's host: it names the session."""
    script = f"tr '\\0' '\\n' < /proc/{pid}/environ | grep ^CLAUDE_CONFIG_DIR="
    return lab.execute(session["status"]["host"]["pod"], "sh", "-c", script).strip().partition("=")[2]


@pytest.mark.timeout(600)
@pytest.mark.requirement("H02", "H11", "H25", "H37", "K03")
async def test_conversations_at_once_never_mix(stage: Stage) -> None:
    names = [f"s-{n}" for n in range(SESSIONS)]
    for name in names:
        stage.session(name)
    sessions = await asyncio.to_thread(stage.running, *names)
    before = places(sessions)
    load = {host: list(before.values()).count(host) for host in set(before.values())}
    assert len(load) == HOSTS
    assert max(load.values()) <= 9
    ways = list(stage.gateway.urls.values())
    assert len(ways) == 2
    clients = [stage.client(name, base=ways[n % 2]) for n, name in enumerate(names)]
    turns = await asyncio.gather(*(talk(client, name) for client, name in zip(clients, names, strict=True)))
    for name, client, seen in zip(names, clients, turns, strict=True):
        assert len(set(seen)) == 1, f"{name} changed its process"
        uid = sessions[name]["metadata"]["uid"]
        config = await asyncio.to_thread(whose, stage.lab, sessions[name], seen[0][1])
        assert config == f"/state/sessions/{uid}/claude", f"{name} was answered by another's process"
        entries = [entry for entry in await client.transcript() if entry.get("type") == "assistant"]
        texts = [block["text"] for entry in entries for block in entry["message"]["content"] if "text" in block]
        assert texts == [f"{name} answer {turn}" for turn in range(TURNS)]
        assert stage.lab.model_requests(sessions[name]) == TURNS
    assert places(stage.running(*names)) == before
    finished = await asyncio.to_thread(
        stage.lab.until, "s-0", lambda s: s["status"].get("usage", {}).get("turns") == TURNS, "its usage", 90
    )
    assert float(finished["status"]["usage"]["costUsd"]) > 0
    assert finished["status"]["transcript"]["entries"] > TURNS
    for name in names[4:]:
        stage.lab.terminal.kubectl("delete", "agentsession", name, "-n", stage.lab.namespace, "--wait=false")


@pytest.mark.requirement("H11", "K02", "H02")
async def test_a_killed_host_process_goes_on_from_its_disk(stage: Stage) -> None:
    stage.session("survivor")
    host = places(stage.running("survivor"))["survivor"]
    client = stage.client("survivor")
    await client.say_text("the word is egret. " + manifests.prompt(manifests.say("noted")))
    pid = (await client.state())["pid"]
    gate = "/tmp/never"
    wait = manifests.bash(f"touch {gate}.here; until [ -e {gate} ]; do sleep 0.2; done", timeout=600_000)
    cut = asyncio.create_task(client.say(wait, **{"Idempotency-Key": "cut"}))
    await asyncio.to_thread(stage.lab.execute, host, "sh", "-c", f"until [ -e {gate}.here ]; do sleep 0.1; done")
    with suppress(CommandFailed):  # it may end with the container
        await asyncio.to_thread(stage.lab.execute, host, "pkill", "-9", "-f", "agentrunner serve")
    with pytest.raises(aiohttp.ClientPayloadError):  # the stream is cut, not ended: nobody takes it for a whole answer
        await cut
    events = await _again(client, manifests.say("still here"))
    assert said(events) == ["still here"]
    # Whether the message that was cut had its effect nobody can say: it is not run again, and its sender is told.
    status, body = await client.status(
        "POST", "/messages", json={"prompt": "again"}, headers={"Idempotency-Key": "cut"}
    )
    assert (status, "problems/turn-interrupted" in body) == (409, True)
    assert (await client.state())["pid"] != pid or (await client.state())["beginning"] == "Resumed"
    entries = str(await client.transcript())
    assert "egret" in entries
    resumed = stage.lab.until("survivor", lambda s: condition(s, "Resumed").get("status") == "True", "Resumed")
    assert condition(resumed, "Resumed")["reason"] == "TranscriptFound"
    assert places(stage.running("survivor"))["survivor"] == host


async def _again(client: Client, step: Json) -> list[Event]:
    """Send a message until it is taken, as a client does that is told to come back."""
    for _ in range(120):
        async with client.call("POST", "/messages", json={"prompt": manifests.prompt(step)}) as answer:
            if answer.status == 200:
                return [event async for event in read_events(answer)]
            assert answer.status in (421, 503), await answer.text()
        await asyncio.sleep(0.5)
    raise AssertionError("the session did not come back")


@pytest.mark.requirement("H03", "K02")
async def test_a_lost_host_without_a_volume_is_never_silently_blank(stage: Stage) -> None:
    for name, policy in (("strict", "Fail"), ("easy", "StartFresh")):
        stage.session(name, onMissingTranscript=policy)
        stage.running(name)
        await stage.client(name).say(manifests.say("hello"))
        stage.lab.until(name, lambda s: s["status"].get("usage", {}).get("turns", 0) >= 1, "its usage", 90)
    for name in ("strict", "easy"):
        pod = str(stage.lab.session(name)["status"]["host"]["pod"])
        uid = stage.lab.session(name)["status"]["host"]["podUID"]
        found = stage.lab.api.get(PODS, stage.lab.namespace, pod)
        if found is not None and found["metadata"]["uid"] == uid:
            stage.lab.api.delete(PODS, stage.lab.namespace, pod, gracePeriodSeconds=0)
    lost = stage.lab.reason("strict", "TranscriptMissing")
    assert condition(lost, "Resumed")["status"] == "False"
    assert condition(lost, "Stalled")["status"] == "True"
    status, body = await stage.client("strict").status("POST", "/messages", json={"prompt": "x"})
    assert status == 503
    assert "TranscriptMissing" in body, body
    stage.lab.until("easy", lambda s: condition(s, "Resumed").get("status") == "False", "Resumed=False")
    stage.running("easy")
    async with stage.client("easy").call("GET", "/events") as answer:
        assert answer.headers["X-Agentsessions-Session"] == "lost"
    assert said(await stage.client("easy").say(manifests.say("from the start"))) == ["from the start"]


@pytest.mark.requirement("H03", "H04", "K02")
async def test_a_lost_host_with_a_volume_comes_back_with_its_conversations(stage: Stage) -> None:
    lab: Lab = stage.lab
    lab.api.apply(manifests.template(lab.namespace, "kept", workspace={"storage": "1Gi"}))
    stage.pool("kept", replicas=1, sessionsPerHost=3, templateRef={"name": "kept"})
    stage.session("diary", "kept")
    stage.running("diary")
    client = stage.client("diary")
    await client.say(manifests.bash("echo ibis > note"), manifests.say("the word is ibis"))
    lab.until("diary", lambda s: s["status"].get("usage", {}).get("turns", 0) >= 1, "its usage", 90)
    old = lab.session("diary")["status"]["host"]
    lab.api.delete(PODS, lab.namespace, old["pod"], gracePeriodSeconds=0)
    lab.until("diary", lambda s: s["status"].get("host", {}).get("podUID", old["podUID"]) != old["podUID"], "a new pod")
    resumed = lab.until("diary", lambda s: condition(s, "Resumed").get("status") == "True", "Resumed=True")
    stage.running("diary")
    assert resumed["status"]["host"]["pod"] == old["pod"]
    events = await client.say(manifests.bash("cat note"), manifests.say("it says {{toolResult}}"))
    assert said(events)[-1] == "it says ibis"
    assert "the word is ibis" in str(await client.transcript())
