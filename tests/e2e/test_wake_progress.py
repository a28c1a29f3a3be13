"""A client that asks for it is told how its session wakes; nobody else notices anything."""

import asyncio

import pytest

from e2e import manifests
from e2e.gateway import Client, Event, read_events, said
from e2e.stage import Stage
from e2e.stores import redis_store

WISH = {"X-Agentsessions-Progress": "stream"}


def dozer(stage: Stage, name: str) -> Client:
    """Apply a session that soon sleeps, wait until it does, and return somebody who talks to it."""
    store = redis_store(stage.lab).given_to(stage.lab)
    stage.hybrid(name, sessionStore=store, idleTimeoutSeconds=5)
    return stage.client(name)


def check_whole(events: list[Event]) -> list[Event]:
    """Check that events of a session are without a gap; return those."""
    own = [event for event in events if event.id]
    assert len({event.id.rpartition("-")[0] for event in own}) == 1
    numbers = [event.number for event in own]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return own


@pytest.mark.requirement("H12")
async def test_who_asks_for_it_is_told_and_gets_the_same_turn(stage: Stage) -> None:
    client = await asyncio.to_thread(dozer, stage, "told")
    first = await client.say(manifests.say("one"), **WISH)
    kinds = [event.kind for event in first]
    assert kinds[0] == "progress"
    assert "progress" not in kinds[kinds.index("message") :]
    progress = [event for event in first if event.kind == "progress"]
    assert progress[0].data["reason"] in ("Starting", "Asleep", "Waking")  # the first: it has not heard of it yet
    assert "Waking" in {event.data["reason"] for event in progress}
    assert all(event.data["message"] and not event.id for event in progress)
    assert (progress[-1].data["reason"], progress[-1].data["session"]) == ("Running", "fresh")
    assert (said(first), kinds[-1]) == (["one"], "done")
    own = check_whole(first)
    async with client.call("GET", "/events", headers={"Last-Event-ID": own[0].id}) as answer:
        stream = read_events(answer)
        assert [await anext(stream) for _ in own[1:]] == own[1:]
    # It is awake: the wish changes nothing.
    second = await client.say(manifests.say("two"), **WISH)
    assert "progress" not in {event.kind for event in second}
    assert said(second) == ["two"]
    check_whole(own + second)


@pytest.mark.requirement("H12")
async def test_who_follows_a_session_that_wakes_is_told_too(stage: Stage) -> None:
    client = await asyncio.to_thread(dozer, stage, "followed")
    async with client.call("GET", "/events", headers=WISH) as answer:
        stream, seen = read_events(answer), [Event("progress", {})]
        while "session" not in seen[-1].data:
            seen.append(await anext(stream))
        assert {event.kind for event in seen} == {"progress"}
        turn = await client.say(manifests.say("one"))
        assert [await anext(stream) for _ in turn] == turn


@pytest.mark.requirement("H12")
async def test_who_does_not_ask_waits_as_ever(stage: Stage) -> None:
    client = await asyncio.to_thread(dozer, stage, "plain")
    prompt = manifests.prompt(manifests.say("one"))
    async with client.call("POST", "/messages", json={"prompt": prompt}) as answer:
        assert answer.status == 200
        assert answer.headers["X-Agentsessions-Session"] == "fresh"
        events = [event async for event in read_events(answer)]
    assert said(events) == ["one"]
    assert check_whole(events) == events


@pytest.mark.requirement("H12", "H36")
async def test_both_kinds_wait_together_for_one_wake(stage: Stage) -> None:
    client = await asyncio.to_thread(dozer, stage, "both")
    turns = await asyncio.gather(
        *(client.say(manifests.say(f"answer {number}"), **(WISH if number % 2 else {})) for number in range(6))
    )
    assert [said(events) for events in turns] == [[f"answer {number}"] for number in range(6)]
    assert [any(event.kind == "progress" for event in events) for events in turns] == [False, True] * 3
    session = stage.lab.session("both")
    assert session["status"]["wakes"] == 1
    assert stage.lab.model_requests(session) == 6


@pytest.mark.requirement("H12")
async def test_who_leaves_while_it_wakes_has_said_nothing(stage: Stage) -> None:
    client = await asyncio.to_thread(dozer, stage, "left")
    prompt = manifests.prompt(manifests.say("never"))
    async with client.call("POST", "/messages", json={"prompt": prompt}, headers=WISH) as answer:
        assert answer.status == 200
        assert (await anext(read_events(answer))).kind == "progress"
        answer.close()
    await asyncio.to_thread(stage.lab.reason, "left", "Running")
    assert said(await client.say(manifests.say("heard"))) == ["heard"]
    assert stage.lab.model_requests(stage.lab.session("left")) == 1


@pytest.mark.requirement("H12")
async def test_what_is_refused_late_is_an_error_in_the_stream(stage: Stage) -> None:
    client = await asyncio.to_thread(dozer, stage, "empty")
    async with client.call("POST", "/messages", json={"prompt": " "}, headers=WISH) as answer:
        assert answer.status == 200
        events = [event async for event in read_events(answer)]
    assert (events[-1].kind, events[-1].slug, events[-1].data["status"]) == ("error", "no-prompt", 422)
