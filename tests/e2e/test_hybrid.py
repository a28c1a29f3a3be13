"""Hybrid sessions: no pod while they sleep, woken by a message, in other pods what they were, whatever the store."""

import asyncio
import json
import time
from collections import Counter
from decimal import Decimal
from itertools import pairwise

import pytest

from e2e import manifests
from e2e.api import PODS, SESSIONS, condition
from e2e.gateway import said
from e2e.sizes import size
from e2e.sleepers import pods_of, priced, slept, told
from e2e.stage import Stage
from e2e.stores import Opened, postgres_store, redis_store, s3_store
from standin.conversation import digest

STORES = [
    pytest.param(redis_store, size(2, 10), size(3, 5), id="redis"),
    pytest.param(postgres_store, size(2, 10), 3, id="postgres"),
    pytest.param(s3_store, size(2, 10), 3, id="s3"),
]
"""Stores, how often a conversation is woken in each, and how many turns it has each time."""

CROWD = 20
SLEEPERS, ACTIVE = size(16, 200), size(3, 10)


@pytest.mark.timeout(900)
@pytest.mark.requirement("H03", "H04", "H12")
@pytest.mark.parametrize(("store", "wakes", "turns"), STORES)
async def test_a_conversation_is_the_same_in_every_pod(stage: Stage, store: Opened, wakes: int, turns: int) -> None:
    opened = await asyncio.to_thread(store, stage.lab)
    name = f"diary-{opened.kind.name}"
    spec = {"sessionStore": opened.given_to(stage.lab), "idleTimeoutSeconds": 5}
    session = await slept(stage, name, spec)
    assert pods_of(stage, session) == []
    client, seen, sent, price = stage.client(name), [], 0, Decimal(0)
    for _ in range(wakes):
        for _ in range(turns):
            events = await client.say_text(told(sent))
            assert said(events) == [f"answer {sent}"]
            assert events[-1].data == {}
            price = price or priced(events)
            sent += 1
        awake = await asyncio.to_thread(stage.lab.session, name)
        seen.append(awake["status"]["host"]["podUID"])
        session = await asyncio.to_thread(stage.asleep, name)
        assert condition(session, "Ready")["status"] == "True"
        assert condition(session, "Active")["status"] == "False"
        assert condition(session, "TranscriptDurable")["status"] == "True"
        assert "host" not in session["status"]
    assert len(set(seen)) == wakes
    assert stage.lab.model_heard(session) == [digest(told(number)) for number in range(sent)]
    assert stage.lab.model_requests(session) == sent
    usage = session["status"]["usage"]
    assert usage["turns"] == sent
    assert session["status"]["wakes"] == wakes
    assert price > Decimal("0.01")
    assert abs(Decimal(usage["costUsd"]) - sent * price) < Decimal("0.005")
    assert condition(session, "Resumed")["reason"] == "TranscriptFound"
    assert opened.mentions(str(session["metadata"]["uid"]))


@pytest.mark.timeout(900)
@pytest.mark.requirement("H03", "H12")
async def test_of_many_only_those_that_are_talked_to_hold_pods(stage: Stage) -> None:
    opened = await asyncio.to_thread(redis_store, stage.lab)
    small = {"cpu": "500m", "memory": "600Mi", "requests": {"cpu": "10m", "memory": "64Mi"}}
    spec = {"sessionStore": opened.given_to(stage.lab), "idleTimeoutSeconds": 3600, "resources": small}
    names = [f"sleeper-{number}" for number in range(SLEEPERS)]
    for name in names:
        stage.lab.api.apply(manifests.hybrid(stage.lab.namespace, name, **spec))
    for name in names:
        await asyncio.to_thread(stage.lab.reason, name, "Asleep")
    await asyncio.gather(*(stage.client(name).say_text(told(0)) for name in names[:ACTIVE]))
    sleepers = {
        one["metadata"]["name"]: one for one in stage.lab.sessions() if one["metadata"]["name"] in names[ACTIVE:]
    }
    await asyncio.sleep(60)
    now = {one["metadata"]["name"]: one for one in stage.lab.sessions()}
    versions = {name: one["metadata"]["resourceVersion"] for name, one in sleepers.items()}
    assert {name: now[name]["metadata"]["resourceVersion"] for name in versions} == versions
    uids = {str(now[name]["metadata"]["uid"]): name for name in names}
    pods = stage.lab.api.list(PODS, stage.lab.namespace, labelSelector="agentsessions.dev/session-uid")
    holders = Counter(uids.get(pod["metadata"]["labels"]["agentsessions.dev/session-uid"]) for pod in pods)
    assert {name: count for name, count in holders.items() if name} == dict.fromkeys(names[:ACTIVE], 1)
    stage.lab.terminal.kubectl("delete", SESSIONS.plural, *names, "-n", stage.lab.namespace, "--wait=false")


@pytest.mark.timeout(600)
@pytest.mark.requirement("H12", "H36")
async def test_a_crowd_at_the_door_wakes_it_once(stage: Stage) -> None:
    opened = await asyncio.to_thread(redis_store, stage.lab)
    spec = {"sessionStore": opened.given_to(stage.lab), "idleTimeoutSeconds": 60}
    await slept(stage, "popular", spec)
    ways = list(stage.gateway.urls.values())
    assert len(ways) == 2
    clients = [stage.client("popular", base=ways[number % 2]) for number in range(CROWD)]
    turns = await asyncio.gather(*(client.say_text(told(number)) for number, client in enumerate(clients)))
    assert [said(events) for events in turns] == [[f"answer {number}"] for number in range(CROWD)]
    spans = sorted((events[0].number, events[-1].number) for events in turns)
    assert all(first[1] < second[0] for first, second in pairwise(spans))
    session = stage.lab.session("popular")
    assert session["status"]["wakes"] == 1
    assert len(pods_of(stage, session)) == 1
    assert Counter(stage.lab.model_heard(session)) == Counter(digest(told(number)) for number in range(CROWD))


@pytest.mark.timeout(600)
@pytest.mark.requirement("H04", "H12")
async def test_files_and_memory_come_back_from_the_archive(stage: Stage) -> None:
    opened = await asyncio.to_thread(s3_store, stage.lab)
    spec = {
        "sessionStore": opened.given_to(stage.lab),
        "workspace": {"archive": opened.archive()},
        "idleTimeoutSeconds": 5,
    }
    await slept(stage, "builder", spec)
    client = stage.client("builder")
    make = (
        "mkdir -p site && echo heron > site/index && ln -s index site/link && echo notes > $CLAUDE_CONFIG_DIR/CLAUDE.md"
    )
    await client.say(manifests.bash(make), manifests.say("made"))
    session = await asyncio.to_thread(stage.asleep, "builder")
    assert session["status"]["archive"]["generation"] == 1
    read = "cat site/link; readlink site/link; cat $CLAUDE_CONFIG_DIR/CLAUDE.md; echo more > more"
    events = await client.say(manifests.bash(read), manifests.say("{{toolResult}}"))
    assert said(events)[-1].split() == ["heron", "index", "notes"]
    session = await asyncio.to_thread(stage.asleep, "builder")
    assert session["status"]["archive"]["generation"] == 2


@pytest.mark.timeout(600)
@pytest.mark.requirement("H04")
async def test_files_stay_on_a_volume(stage: Stage) -> None:
    opened = await asyncio.to_thread(redis_store, stage.lab)
    spec = {
        "sessionStore": opened.given_to(stage.lab),
        "workspace": {"storage": "1Gi"},
        "idleTimeoutSeconds": 5,
    }
    await slept(stage, "keeper", spec)
    client = stage.client("keeper")
    await client.say(manifests.bash("echo stork > note"), manifests.say("made"))
    await asyncio.to_thread(stage.asleep, "keeper")
    assert said(await client.say(manifests.bash("cat note"), manifests.say("{{toolResult}}")))[-1] == "stork"


@pytest.mark.timeout(600)
@pytest.mark.requirement("H03")
async def test_it_sleeps_on_demand_and_takes_no_message_then(stage: Stage) -> None:
    opened = await asyncio.to_thread(redis_store, stage.lab)
    spec = {"sessionStore": opened.given_to(stage.lab), "idleTimeoutSeconds": 3600}
    await slept(stage, "obedient", spec)
    client = stage.client("obedient")
    assert (await client.status())[0] == 409
    await client.say_text(told(0))
    turn = asyncio.create_task(client.say(manifests.bash("sleep 4"), manifests.say("finished first")))
    await client.at_work()
    stage.lab.api.patch(SESSIONS, stage.lab.namespace, "obedient", {"spec": {"suspended": True}})
    assert said(await turn)[-1] == "finished first"
    session = await asyncio.to_thread(stage.lab.reason, "obedient", "Suspended")
    assert condition(session, "Ready")["status"] == "True"
    await client.refused("session-suspended")
    stage.lab.api.patch(SESSIONS, stage.lab.namespace, "obedient", {"spec": {"suspended": None}})
    await asyncio.to_thread(stage.lab.reason, "obedient", "Asleep")
    assert said(await client.say_text(told(1))) == ["answer 1"]
    session = stage.lab.session("obedient")
    assert stage.lab.model_heard(session)[0] == digest(told(0))


@pytest.mark.timeout(600)
@pytest.mark.requirement("H12")
async def test_a_fork_goes_its_own_way_from_a_common_past(stage: Stage) -> None:
    opened = await asyncio.to_thread(redis_store, stage.lab)
    spec = {"sessionStore": opened.given_to(stage.lab), "idleTimeoutSeconds": 5}
    await slept(stage, "trunk", spec)
    await stage.client("trunk").say_text(told(0))
    await asyncio.to_thread(stage.asleep, "trunk")
    await slept(stage, "branch", spec | {"forkFrom": {"name": "trunk"}})
    await stage.client("branch").say_text(told(1))
    await asyncio.to_thread(stage.asleep, "branch")
    await stage.client("branch").say_text(told(2))
    await stage.client("trunk").say_text(told(3))
    heard = {name: stage.lab.model_heard(stage.lab.session(name)) for name in ("trunk", "branch")}
    assert heard["branch"] == [digest(told(number)) for number in (0, 1, 2)]
    assert heard["trunk"] == [digest(told(number)) for number in (0, 3)]
    branch = stage.lab.session("branch")
    assert branch["status"]["sessionId"] != stage.lab.session("trunk")["status"]["sessionId"]
    stage.lab.api.apply(manifests.hybrid(stage.lab.namespace, "orphan", forkFrom={"name": "nobody"}, **spec))
    await asyncio.to_thread(stage.lab.reason, "orphan", "Asleep")
    status, body = await stage.client("orphan").status("POST", "/messages", json={"prompt": "x"})
    assert status == 503
    assert "ForkSourceNotFound" in body, body


@pytest.mark.timeout(600)
@pytest.mark.requirement("H03", "H30")
def test_what_is_missing_is_said(stage: Stage) -> None:
    stage.lab.api.apply(manifests.hybrid(stage.lab.namespace, "homeless"))
    found = stage.lab.reason("homeless", "StoreRequired")
    assert "sessionStore" in condition(found, "Ready")["message"]
    assert condition(found, "Stalled")["status"] == "True"


@pytest.mark.timeout(600)
@pytest.mark.requirement("H03", "H12")
async def test_in_a_pool_it_wakes_without_a_pod_of_its_own(stage: Stage) -> None:
    opened = await asyncio.to_thread(redis_store, stage.lab)
    store = opened.given_to(stage.lab)
    stage.lab.api.apply(manifests.template(stage.lab.namespace, "stored", sessionStore=store))
    await asyncio.to_thread(lambda: stage.pool("warm", replicas=2, sessionsPerHost=3, templateRef={"name": "stored"}))
    await slept(stage, "guest", {"poolRef": {"name": "warm"}, "idleTimeoutSeconds": 5})
    client, began = stage.client("guest"), time.monotonic()
    await client.say_text(told(0))
    print(f"first answer after {time.monotonic() - began:.1f} s")
    session = await asyncio.to_thread(stage.lab.reason, "guest", "Asleep")
    assert pods_of(stage, session) == []
    pool = await asyncio.to_thread(
        stage.until_pool, "warm", lambda p: p["status"]["sessions"] == 0, "hosts without sessions"
    )
    assert pool["status"]["readyReplicas"] == 2
    await client.heard_asleep()
    began = time.monotonic()
    await client.say_text(told(1))
    print(f"answer to a sleeper after {time.monotonic() - began:.1f} s")
    assert stage.lab.model_heard(stage.lab.session("guest")) == [digest(told(0)), digest(told(1))]
    assert json.dumps(store)


@pytest.mark.timeout(600)
@pytest.mark.requirement("H03")
async def test_the_embedded_store_is_enough_to_begin_with(stage: Stage) -> None:
    await slept(stage, "beginner", {"sessionStore": {"type": "Embedded"}, "idleTimeoutSeconds": 5})
    client = stage.client("beginner")
    await client.say_text(told(0))
    await asyncio.to_thread(stage.asleep, "beginner")
    await client.say_text(told(1))
    session = stage.lab.session("beginner")
    assert stage.lab.model_heard(session) == [digest(told(0)), digest(told(1))]
    assert condition(session, "TranscriptDurable")["status"] == "True"
