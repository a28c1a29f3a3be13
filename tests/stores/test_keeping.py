"""What becomes of transcripts when they are long, when many write, and when they are deleted."""

import asyncio
import time

import pytest
from claude_agent_sdk import SessionKey

from agentrunner.stores import s3
from stores.backends import Backend, Opener
from stores.leftovers import leftovers
from stores.transcripts import KEY, OTHER, SUBKEY, entries, turn

TURNS = 1000
LOAD_SECONDS = 5.0
"""A load takes a fraction of this; the bound finds what is wrong by a factor, on a busy machine too."""


async def test_a_thousand_turns_are_there_again_soon(opened: Opener) -> None:
    writer, reader = opened(), opened()
    for number in range(TURNS):
        await writer.append(KEY, turn(number))
    begin = time.monotonic()
    loaded = await reader.load(KEY)
    seconds = time.monotonic() - begin
    assert loaded == [entry for number in range(TURNS) for entry in turn(number)]
    assert await reader.count(KEY) == len(loaded)
    assert seconds < LOAD_SECONDS


async def test_writers_of_different_sessions_do_not_meet(opened: Opener) -> None:
    async def write(key: SessionKey) -> None:
        store = opened()
        for position in range(50):
            await store.append(key, entries(1, position))

    await asyncio.gather(write(KEY), write(OTHER), write(SUBKEY))
    for key in (KEY, OTHER, SUBKEY):
        assert await opened().load(key) == entries(50)


async def test_what_one_call_adds_stays_together(opened: Opener) -> None:
    stores = (opened(), opened())
    await asyncio.gather(*(stores[number % 2].append(KEY, entries(5, number * 5)) for number in range(20)))
    loaded = await stores[0].load(KEY) or []
    batches = [loaded[position : position + 5] for position in range(0, 100, 5)]
    assert sorted(batches, key=lambda batch: int(batch[0]["uuid"])) == [entries(5, number * 5) for number in range(20)]
    assert await stores[1].count(KEY) == 100


async def test_times_of_change_grow(opened: Opener) -> None:
    store, times = opened(), []
    for position in range(5):
        await store.append(KEY, entries(1, position))
        await asyncio.sleep(0.002)
        times += [item["mtime"] for item in await store.list_sessions(KEY["project_key"])]
    assert times == sorted(set(times))
    assert abs(times[-1] - time.time() * 1000) < 60_000


async def test_a_session_of_which_only_subkeys_are_left_is_not_listed_and_can_be_deleted(opened: Opener) -> None:
    store = opened()
    await store.append(KEY, entries(1))
    await store.append(SUBKEY, entries(1))
    await store.replace(KEY, [])
    assert await store.list_sessions(KEY["project_key"]) == []
    assert await store.list_subkeys(KEY) == [SUBKEY["subpath"]]
    await store.delete(KEY)
    assert await store.load(SUBKEY) is None


async def test_nothing_stays_of_what_was_deleted(
    served: Backend, opener: Opener, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "MAX_PARTS", 3)
    store = opener()
    for position in range(10):
        await store.append(KEY, entries(1, position))
        await store.append(SUBKEY, entries(1, position))
    await store.append(OTHER, entries(1))
    await store.replace(SUBKEY, entries(3))
    assert await store.list_projects() == sorted([KEY["project_key"], OTHER["project_key"]])
    assert await leftovers(served, request, f"team/{opener.namespace}")
    await store.delete(KEY)
    assert await store.list_projects() == [OTHER["project_key"]]
    await store.delete(OTHER)
    assert await store.list_projects() == []
    assert await leftovers(served, request, f"team/{opener.namespace}") == []


async def test_many_sessions_are_listed(served: Backend, opener: Opener) -> None:
    store = opener()
    keys: list[SessionKey] = [{"project_key": "many", "session_id": f"s{number:04d}"} for number in range(1100)]
    for begin in range(0, len(keys), 50):
        await asyncio.gather(*(store.append(key, entries(1)) for key in keys[begin : begin + 50]))
    found = await store.list_sessions("many")
    assert sorted(item["session_id"] for item in found) == [key["session_id"] for key in keys]
