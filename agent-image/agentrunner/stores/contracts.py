"""What a host relies on beyond the SDK's contracts, each as a small experiment under names of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from claude_agent_sdk import SessionKey, SessionListSubkeysKey, SessionStoreEntry

from agentrunner.stores.base import Store, StoreFenced
from agentrunner.stores.codec import encode

Make = Callable[[str], Store]
"""Returns a store for a prefix below the one that is checked; for the same name twice, two that hold the same."""

Contract = Callable[[Make], Awaitable[None]]

_KEY: SessionKey = {"project_key": "-workspace-check", "session_id": "check"}
_SUBKEY: SessionKey = {**_KEY, "subpath": "subagents/agent-1"}
_MANY = 300
_LARGE = 2 * 1024 * 1024


class Broken(Exception):
    """A contract does not hold; the text says what came instead of what."""


async def answers(make: Make) -> None:
    """The store can be reached, and may be written, read and deleted."""
    store = make("answers")
    _expect("load of what was never written", await store.load(_KEY), None)
    await store.append(_KEY, _entries(1))
    _expect("load of what was written", await store.load(_KEY), _entries(1))
    await store.delete(_KEY)


async def shares(make: Make) -> None:
    """What one pod writes another one reads."""
    await make("shares").append(_KEY, _entries(2))
    _expect("load over another connection", await make("shares").load(_KEY), _entries(2))


async def counts(make: Make) -> None:
    """`count` is the number of entries under exactly this key."""
    store = make("counts")
    _expect("count of nothing", await store.count(_KEY), 0)
    await store.append(_KEY, _entries(3))
    await store.append(_KEY, _entries(2))
    await store.append(_SUBKEY, _entries(4))
    _expect("counts", (await store.count(_KEY), await store.count(_SUBKEY)), (5, 4))


async def replaces(make: Make) -> None:
    """`replace` leaves exactly the new entries, and subkeys as they were."""
    store = make("replaces")
    await store.append(_KEY, _entries(5))
    await store.append(_SUBKEY, _entries(4))
    for number in (7, 2, 0, 3):
        await store.replace(_KEY, _entries(number))
        _expect("load after replace", await store.load(_KEY), _entries(number) or None)
        _expect("count after replace", await store.count(_KEY), number)
    await store.append(_KEY, _entries(5)[3:])
    _expect("load after replace and append", await store.load(_KEY), _entries(5))
    _expect("load of the subkey", await store.load(_SUBKEY), _entries(4))


async def weighs(make: Make) -> None:
    """`size` is the bytes of a session with its subkeys, give or take how they are written."""
    store = make("weighs")
    _expect("size of nothing", await store.size(_KEY), 0)
    await store.append(_KEY, _entries(50))
    await store.append(_SUBKEY, _entries(50))
    await store.replace(_KEY, _entries(20))
    true = _bytes(_entries(20)) + _bytes(_entries(50))
    found = await store.size(_KEY)
    if not true / 2 <= found <= true * 2:
        raise Broken(f"size: {found} bytes instead of about {true}")


async def keeps_order(make: Make) -> None:
    """Entries come back in the order of the calls, however many there are."""
    store, entries = make("keeps-order"), _entries(_MANY)
    for position in range(0, _MANY, 3):
        await store.append(_KEY, entries[position : position + 3])
    _expect("load", await store.load(_KEY), entries)


async def keeps_every_character(make: Make) -> None:
    """Entries come back as they were: order of keys, big numbers, any character."""
    store = make("keeps-characters")
    texts = ["", "é ü 漢字 🙂", "\x00\x1f\x7f\u2028\ufeff", "\ud83d", '"\\\n\r\t', "%s * ? [a] _ '; --"]
    numbers = [0, -1, 2**53 + 1, 10**40, 0.1, 1e-300, -0.0, 1.0, True, False, None]
    entry: SessionStoreEntry = {"z": texts, "type": "x", "a": {"b": numbers, "ü": {}, "": []}}  # type: ignore[typeddict-unknown-key]
    await store.append(_KEY, [entry])
    loaded = await store.load(_KEY)
    _expect("load", [encode(item) for item in loaded or []], [encode(entry)])


async def keeps_large_entries(make: Make) -> None:
    """An entry of 2 MB is kept, among small ones."""
    store = make("keeps-large")
    large: SessionStoreEntry = {"type": "x", "uuid": "large", "timestamp": "é" * (_LARGE // 2)}
    entries = [*_entries(1), large, *_entries(1)]
    await store.append(_KEY, entries)
    _expect("load", (await store.load(_KEY)) == entries, True)


async def keeps_prefixes_apart(make: Make) -> None:
    """What is under one prefix is not seen, counted or deleted under another that looks like it."""
    names = ("team", "team-a", "te_m", "te%m", "te.m", "tea", "TEAM")
    stores = {name: make(name) for name in names}
    for number, store in enumerate(stores.values(), 1):
        await store.append(_KEY, _entries(number))
        await store.append(_SUBKEY, _entries(number))
    for number, store in enumerate(stores.values(), 1):
        _expect("count under each prefix", await store.count(_KEY), number)
    for name in ("te_m", "te%m", "te.m", "tea"):
        await stores[name].delete(_KEY)
    left = [name for name, store in stores.items() if await store.load(_KEY) and await store.load(_SUBKEY)]
    _expect("prefixes that are left", left, ["team", "team-a", "TEAM"])


async def fences_earlier_pods_off(make: Make) -> None:
    """Once a later pod has claimed a session, nothing that an earlier one writes is ever read."""
    early, late = make("fences"), make("fences")
    session: SessionListSubkeysKey = {"project_key": _KEY["project_key"], "session_id": _KEY["session_id"]}
    await early.claim(session, 1)
    await early.append(_KEY, _entries(3))
    await early.append(_SUBKEY, _entries(2))
    await late.claim(session, 2)
    _expect("load after a claim", await late.load(_KEY), _entries(3))
    await late.append(_KEY, _entries(5)[3:])
    for key in (_KEY, _SUBKEY):
        await _refused(early.append(key, _entries(1)), early.count(key))
        await _refused(early.replace(key, _entries(1)), early.count(key))
    await _refused(early.claim(session, 1))
    await late.claim(session, 2)
    await late.append(_KEY, _entries(6)[5:])
    _expect("load after writes of an earlier pod", await make("fences").load(_KEY), _entries(6))
    _expect("subkey after writes of an earlier pod", await make("fences").load(_SUBKEY), _entries(2))
    await make("fences").append(_KEY, _entries(7)[6:])
    _expect("load after a write of somebody without a claim", await late.load(_KEY), _entries(7))
    await late.delete(_KEY)


async def _refused(*calls: Awaitable[object]) -> None:
    """Await all calls; one of them at least has to be refused for a later claim."""
    results = await asyncio.gather(*calls[:1], return_exceptions=True)
    results += await asyncio.gather(*calls[1:], return_exceptions=True)
    if not any(isinstance(result, StoreFenced) for result in results):
        raise Broken("a write of an earlier pod was taken for good")


CONTRACTS: tuple[Contract, ...] = (
    shares,
    counts,
    replaces,
    weighs,
    keeps_order,
    keeps_every_character,
    keeps_large_entries,
    keeps_prefixes_apart,
    fences_earlier_pods_off,
)


def _entries(number: int) -> list[SessionStoreEntry]:
    return [{"type": "x", "uuid": f"{position}", "timestamp": "2026-01-01T00:00:00Z"} for position in range(number)]


def _bytes(entries: Iterable[SessionStoreEntry]) -> int:
    return sum(len(encode(entry)) for entry in entries)


def _expect(what: str, found: object, wanted: object) -> None:
    if found != wanted or type(found) is not type(wanted):
        raise Broken(f"{what}: {_short(found)} instead of {_short(wanted)}")


def _short(value: object) -> str:
    text = f"{len(value)} entries" if isinstance(value, list) and len(value) > 3 else ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
