"""Nothing outside of the prefix is ever read, listed or deleted, whatever names look like."""

from itertools import product
from typing import Any

import pytest
from claude_agent_sdk import SessionKey

from agentrunner.stores import s3_layout
from agentrunner.stores.base import StoreRefused
from agentrunner.stores.keys import Keys
from stores.backends import Opener
from stores.transcripts import KEY, entries

ALIKE = ("a", "ab", "a-b", "a_b", "a%b", "a*b", "a?b", "a[b]", "*", "?", "%", "_", "a.b", "A", "ä", "a b", "a'b", "!61")
BAD = ["", ".", "..", "a/../b", "../a", "a/", "/a", "a//b", "a\x00b", "a\nb", "\ud800", ":sessions", "x" * 256]


@pytest.mark.parametrize("part", BAD)
async def test_a_name_that_could_lead_elsewhere_is_refused_before_anything_is_asked(opened: Opener, part: str) -> None:
    store = opened()
    keys: list[SessionKey] = [{**KEY, "project_key": part}, {**KEY, "session_id": part}, {**KEY, "subpath": part}]
    for key in keys:
        for call in (store.load, store.count, store.delete):
            with pytest.raises(StoreRefused, match="cannot be part of a name"):
                await call(key)
        for write in (store.append, store.replace):
            with pytest.raises(StoreRefused, match="cannot be part of a name"):
                await write(key, entries(1))
    with pytest.raises(StoreRefused):
        await store.list_subkeys({"project_key": part, "session_id": "s"})
    with pytest.raises(StoreRefused):
        await store.list_sessions(part)
    with pytest.raises(StoreRefused):
        await store.size({"project_key": part, "session_id": "s"})


async def test_names_that_look_alike_are_different_sessions(opened: Opener) -> None:
    store = opened()
    keys: list[SessionKey] = [{"project_key": p, "session_id": s} for p, s in product(ALIKE[:6], ALIKE)]
    for number, key in enumerate(keys, 1):
        await store.append(key, entries(number))
        await store.append({**key, "subpath": key["project_key"]}, entries(1))
    for number, key in enumerate(keys, 1):
        assert await store.count(key) == number
    for project in ALIKE[:6]:
        assert sorted(item["session_id"] for item in await store.list_sessions(project)) == sorted(ALIKE)
    gone = [key for key in keys if key["session_id"] in ("*", "?", "%", "_", "a_b", "a*b")]
    for key in gone:
        await store.delete(key)
    assert [key for key in keys if not await store.count(key)] == gone


async def test_prefixes_that_look_alike_are_different_places(opened: Opener) -> None:
    prefixes = [prefix for prefix in ALIKE if prefix != "ä"]
    stores = {prefix: opened(prefix) for prefix in prefixes}
    for number, store in enumerate(stores.values(), 1):
        await store.append(KEY, entries(number))
    for prefix in ("*", "?", "%", "_", "a_b", "a*b", "a"):
        await stores[prefix].delete(KEY)
        assert await stores[prefix].list_sessions(KEY["project_key"]) == []
    left = [prefix for prefix, store in stores.items() if await store.count(KEY)]
    assert left == [prefix for prefix in prefixes if prefix not in ("*", "?", "%", "_", "a_b", "a*b", "a")]


@pytest.mark.parametrize(
    "key",
    [
        {"project_key": "p", "session_id": "s"},
        {"project_key": "p", "session_id": "s", "subpath": "subagents/agent-1"},
        {"project_key": "p *", "session_id": "ü", "subpath": "a/b/c"},
    ],
)
def test_a_name_leads_back_to_its_key(key: Any) -> None:
    keys = Keys("team/ns")
    assert keys.text(key).startswith("team/ns/")
    assert keys.parse(keys.text(key)) == key


@pytest.mark.parametrize(
    "text", ["", "team/ns", "team/ns/p", "team/nsx/p/s", "x/team/ns/p/s", "team/ns/../s", "ns/p/s"]
)
def test_a_name_of_somewhere_else_has_no_key(text: str) -> None:
    with pytest.raises(StoreRefused):
        Keys("team/ns").parse(text)


@pytest.mark.parametrize("prefix", ["", "/", "team/", "/ns", "team/../ns", "team/:x"])
def test_a_prefix_that_could_lead_elsewhere_is_refused(prefix: str) -> None:
    with pytest.raises(StoreRefused):
        Keys(prefix)


@pytest.mark.parametrize("text", ["plain-1_2.3", "a/b", "ü 🙂", "!21", "100%", "../..", "\ud7ff"])
def test_any_text_is_one_segment_of_an_object_s_name_and_comes_back(text: str) -> None:
    segment = s3_layout.quoted(text)
    assert s3_layout.unquoted(segment) == text
    assert "/" not in segment
    assert segment.isascii()
