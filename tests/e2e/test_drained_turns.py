"""Hosts are evicted under turns: each ends in peace, and nobody on the same host waits for the turn of another."""

import asyncio
from collections import Counter
from functools import partial

import pytest

from e2e import manifests
from e2e.api import Json, condition
from e2e.gateway import Event, said
from e2e.killing import evict
from e2e.lab import gated
from e2e.manifests import say
from e2e.sleepers import slept, told
from e2e.stage import Stage, is_elsewhere, places
from e2e.stores import redis_store

GATE = "/tmp/go"
NAMES = [f"d-{number}" for number in range(4)]


@pytest.fixture
def hosted(stage: Stage) -> tuple[str, str, str]:
    """Sessions on a pool of two hosts: a host that has two of them at least, and the names of the two."""
    store = redis_store(stage.lab).given_to(stage.lab)
    stage.lab.api.apply(manifests.template(stage.lab.namespace, "hosts", sessionStore=store))
    stage.pool(templateRef={"name": "hosts"}, replicas=2, sessionsPerHost=len(NAMES), drainSeconds=120)
    for name in NAMES:
        stage.session(name)
    where = places(stage.running(*NAMES))
    ((host, _),) = Counter(where.values()).most_common(1)
    busy, quiet, *_ = [name for name, pod in where.items() if pod == host]
    return host, busy, quiet


async def in_a_turn(stage: Stage, name: str) -> asyncio.Task[list[Event]]:
    """Have a session work until its gate is opened; return its turn."""
    client = stage.client(name)
    assert said(await client.say_text(told(0))) == ["answer 0"]
    turn = asyncio.create_task(client.say(gated(gate=GATE), say("in peace")))
    await asyncio.to_thread(stage.lab.at_gate, name, GATE)
    return turn


async def answered(stage: Stage, name: str, text: str) -> list[Event]:
    """Send a message, again if it waited for a turn on a host that goes, and was told so; return its turn."""
    while True:
        events = await stage.client(name).insist(text)
        if events[-1].kind == "done":
            return events
        assert events[-1].slug == "draining", events[-1]


async def ends_in_peace(stage: Stage, turn: asyncio.Task[list[Event]], pod: str) -> None:
    """Open the gate, on a pod that is to go, and see that the turn comes to its end."""
    assert not turn.done()
    await asyncio.to_thread(stage.lab.open_gate, pod, GATE)
    events = await turn
    assert (events[-1].kind, said(events)[-1]) == ("done", "in peace")


def check_gone_on(stage: Stage, found: Json, prompts: int) -> None:
    """See that a session has all of its conversation, and has run no turn twice."""
    assert condition(found, "Resumed")["reason"] == "TranscriptFound"
    assert found["status"]["lastTermination"]["reason"] == "Evicted"
    assert len(stage.lab.model_heard(found)) == prompts
    assert set(stage.lab.model_begun(found).values()) == {1}


@pytest.mark.timeout(300)
@pytest.mark.requirement("K02", "H03", "H51")
async def test_a_session_whose_pod_is_evicted_ends_its_turn_there_and_has_the_next_elsewhere(stage: Stage) -> None:
    lab, name = stage.lab, "alone"
    store = (await asyncio.to_thread(redis_store, lab)).given_to(lab)
    grace = {"idleTimeoutSeconds": 3600, "terminationGracePeriodSeconds": 150}
    await slept(stage, name, {"sessionStore": store, **grace})
    turn = await in_a_turn(stage, name)
    old = lab.session(name)["status"]["host"]
    await asyncio.to_thread(evict, lab.api, lab.namespace, old["pod"])
    waiting = asyncio.create_task(answered(stage, name, told(1)))
    await asyncio.sleep(3)  # in which a host that does not wait for its turn has interrupted it
    await ends_in_peace(stage, turn, old["pod"])
    assert said(await waiting) == ["answer 1"]
    found = await asyncio.to_thread(lab.reason, name, "Running")
    assert is_elsewhere(old["podUID"])(found)
    check_gone_on(stage, found, 3)
    assert found["status"]["failures"] == 0


@pytest.mark.timeout(400)
@pytest.mark.requirement("K02", "H11", "H51")
async def test_on_a_pools_host_that_is_evicted_nobody_waits_for_the_turn_of_another(
    stage: Stage, hosted: tuple[str, str, str]
) -> None:
    lab, (host, busy, quiet) = stage.lab, hosted
    assert said(await stage.client(quiet).say_text(told(0))) == ["answer 0"]
    turn = await in_a_turn(stage, busy)
    old = lab.session(busy)["status"]["host"]["podUID"]
    await asyncio.to_thread(evict, lab.api, lab.namespace, host)
    moved = partial(lab.until, quiet, is_elsewhere(old), "another host")
    await asyncio.to_thread(moved)
    assert said(await stage.client(quiet).insist(told(1))) == ["answer 1"]
    await ends_in_peace(stage, turn, host)
    assert said(await stage.client(busy).insist(told(1))) == ["answer 1"]
    for name, prompts in ((busy, 3), (quiet, 2)):
        found = await asyncio.to_thread(lab.reason, name, "Running")
        assert is_elsewhere(old)(found)
        check_gone_on(stage, found, prompts)
