"""Clients of the Agent SDK hosting cookbook work unchanged, and what goes wrong there does not go wrong here.

The numbers are those of the defects found by reading its Kubernetes tier; each test would fail on it. Those that are
about pods rather than about talking are in `test_cookbook_cluster.py`.
"""

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from itertools import pairwise

import aiohttp
import pytest

from e2e import manifests
from e2e.gateway import TIMEOUT, Gateway, fetch, said
from e2e.lab import Labs
from e2e.stage import Stage


@pytest.fixture(scope="module")
def stage(labs: Labs, gateway: Gateway) -> Iterator[Stage]:
    """A pool that serves ids without resources, and two sessions that have one."""
    with labs() as lab:
        found = Stage.built(lab, gateway)
        found.pool(replicas=1, sessionsPerHost=20, implicitSessions=True, drainSeconds=20)
        for name in ("one", "two"):
            found.session(name)
        found.running("one", "two")
        yield found


def cookbook_client(base: str, namespace: str, token: str, session_id: str, prompt: str) -> list[tuple[str, str]]:
    """Post a prompt and parse the answer as the cookbook's own README does: nothing but the standard library."""
    request = urllib.request.Request(
        f"{base}/sessions/{session_id}/messages",
        data=json.dumps({"prompt": prompt}).encode(),
        headers={
            "Content-Type": "application/json",
            "Authorization": f"Bearer {token}",
            "X-Agentsessions-Pool": f"{namespace}/chat",
        },
    )
    events, kind = [], ""
    with urllib.request.urlopen(request, timeout=120) as answer:
        for raw in answer:
            line = raw.decode().rstrip("\n")
            if line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: "):
                events.append((kind, line[6:]))
    return events


@pytest.mark.requirement("H11", "H25")
async def test_a_client_of_the_cookbook_works_unchanged(stage: Stage) -> None:
    answer = await asyncio.to_thread(
        cookbook_client,
        stage.gateway.url,
        stage.lab.namespace,
        stage.token,
        "Chat_7-a",
        manifests.prompt(manifests.say("hello from the pool")),
    )
    assert {kind for kind, _ in answer} == {"message", "done"}
    assert answer[-1] == ("done", "{}")
    assert "hello from the pool" in str(answer)
    assert all("type" in json.loads(data) for kind, data in answer if kind == "message")
    assert json.loads(await asyncio.to_thread(fetch, f"{stage.gateway.url}/health")) == {"status": "ok"}


@pytest.mark.parametrize(("body", "status"), [(b"{}", 422), (b"not json", 400), (b'{"prompt": " "}', 422)])
async def test_defect_02_a_wrong_body_costs_nothing_but_itself(stage: Stage, body: bytes, status: int) -> None:
    client = stage.client("one")
    await client.say(manifests.say("before"))
    pid = (await client.state())["pid"]
    assert (await client.status("POST", "/messages", data=body))[0] == status
    assert (await client.state())["pid"] == pid
    assert "before" in str(await client.transcript())


async def test_defect_04_a_long_turn_is_not_idle(stage: Stage) -> None:
    """The only clock that could end a process here waits for the end of its turn, however long that is."""
    lab = stage.lab
    lab.api.apply(manifests.template(lab.namespace, "aging", limits={"recycleAgeSeconds": 3}))
    await asyncio.to_thread(lambda: stage.pool("aging", replicas=1, templateRef={"name": "aging"}))
    stage.session("old", "aging")
    await asyncio.to_thread(stage.running, "old")
    client = stage.client("old")
    pid = (await client.state())["pid"]
    # Silent for longer than the interval of heartbeats: the stream is kept, too.
    turn = asyncio.create_task(client.say(manifests.bash("sleep 20; echo $PPID"), manifests.say("by {{toolResult}}")))
    assert said(await turn)[-1] == f"by {pid}"
    async with asyncio.timeout(60):
        while (await client.state()).get("pid") in (None, pid):  # noqa: ASYNC110 - its host has no event for this
            await asyncio.sleep(0.5)


async def test_defect_05_an_id_stays_with_its_user_for_ever(stage: Stage) -> None:
    mine = stage.implicit("mine")
    await mine.say(manifests.say("secret-of-app"))
    await asyncio.to_thread(stage.let_in, "late")
    late = stage.implicit("mine", token=stage.gateway.token(stage.lab.namespace, "late"))
    await late.say(manifests.say("secret-of-late"))
    theirs, ours = str(await late.transcript()), str(await mine.transcript())
    assert ("secret-of-app" in ours, "secret-of-late" in ours) == (True, False)
    assert ("secret-of-app" in theirs, "secret-of-late" in theirs) == (False, True)


@pytest.mark.parametrize("session_id", ["Upper_Case", "a" * 64, "ends-with-", "ends_"])
async def test_defect_08_every_valid_id_works(stage: Stage, session_id: str) -> None:
    assert said(await stage.implicit(session_id).say(manifests.say("yes"))) == ["yes"]
    assert (await stage.implicit(session_id).state())["origin"] == "Implicit"


async def test_defect_09_a_session_that_waited_comes_up_by_itself(stage: Stage) -> None:
    stage.session("patient", "later")
    stage.lab.reason("patient", "PoolNotFound")
    await asyncio.to_thread(lambda: stage.pool("later", replicas=1, sessionsPerHost=1))
    await asyncio.to_thread(stage.running, "patient")
    assert said(await stage.client("patient").say(manifests.say("here"))) == ["here"]


async def test_defect_10_turns_of_one_session_never_overlap(stage: Stage) -> None:
    client = stage.client("two")
    step = manifests.bash("echo begin >> turns; sleep 0.3; echo end >> turns")
    turns = await asyncio.gather(*(client.say(step, manifests.say(f"turn {n}")) for n in range(5)))
    spans = sorted((events[0].number, events[-1].number) for events in turns)
    assert all(first[1] < second[0] for first, second in pairwise(spans))
    read = await client.say(manifests.bash("cat turns"), manifests.say("{{toolResult}}"))
    assert said(read)[-1].split() == ["begin", "end"] * 5


async def test_defect_15_a_turn_does_not_wait_for_a_new_process(stage: Stage) -> None:
    client = stage.client("one")
    pids = []
    for _ in range(3):
        await client.say(manifests.say("again"))
        pids.append((await client.state())["pid"])
    assert len(set(pids)) == 1


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer "}, {"X-Tenant": "alice"}, {"X-API-Key": "x"}])
async def test_defect_16_without_configuration_nobody_is_let_in(stage: Stage, headers: dict[str, str]) -> None:
    named, implicit = stage.client("one").path, stage.implicit("anybody").path
    headers |= {"X-Agentsessions-Pool": f"{stage.lab.namespace}/chat"}
    calls = [("GET", named), ("GET", implicit), ("POST", f"{named}/messages"), ("POST", "/sessions/anybody/messages")]
    async with aiohttp.ClientSession(stage.gateway.url, timeout=TIMEOUT) as http:
        for verb, path in calls:
            body = {"prompt": "x"} if verb == "POST" else None
            async with http.request(verb, path, headers=headers, json=body) as answer:
                assert answer.status == 401, (verb, path)
