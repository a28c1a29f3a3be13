"""A session is its latest pod's: claimed before it is read, and let go of when another pod has it."""

import asyncio
from pathlib import Path

import pytest

from agentrunner.keeping import mirror as module
from agentrunner.stores.base import StoreFenced, StoreUnreachable
from unit.agentrunner.keeping.copying import Stage, stage
from unit.agentrunner.keeping.talks import FakeStore, Fault, entries

LATER, GONE = StoreFenced(9), StoreUnreachable("no answer")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_BACKOFF", 0.001)
    monkeypatch.setattr(module, "_FILE_SECONDS", 0.05)


async def until_fenced(on: Stage) -> None:
    """Wait until the copying says that another pod has the session."""
    async with asyncio.timeout(5):
        while not on.mirror.fenced:  # noqa: ASYNC110 - it is called back, and not waited for
            await asyncio.sleep(0.001)


async def test_without_a_number_nothing_is_claimed(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await on.mirror.claim.make(None)
        on.write(entries(1))
        assert await on.mirror.settle(5)
        assert on.store.claims == []


async def test_a_claim_is_made_once_for_each_number(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        for epoch in (3, 3, 4):
            await on.mirror.claim.make(epoch)
        on.write(entries(1))
        assert await on.mirror.settle(5)
        assert on.store.claims == [3, 4]


async def test_a_claim_that_could_not_be_made_comes_before_the_next_write(tmp_path: Path) -> None:
    async with stage(tmp_path, begun=False) as on:
        on.store.will("claim", Fault(GONE), Fault(GONE))
        with pytest.raises(StoreUnreachable):
            await on.mirror.claim.make(3)
        on.write(entries(2))
        on.mirror.begin_unseen(GONE)
        await on.copied(entries(2))
        assert set(on.store.claims) == {3}
        names = [name for name, _, _ in on.store.calls]
        assert names[:3] == ["claim"] * 3


@pytest.mark.parametrize("method", ["append", "count"])
async def test_whoever_is_fenced_says_so_and_tries_no_more(tmp_path: Path, method: str) -> None:
    async with stage(tmp_path) as on:
        await on.mirror.claim.make(3)
        on.store.will(method, Fault(LATER))
        on.write(entries(1))
        assert not await on.mirror.settle(5)
        assert (on.mirror.fenced, on.mirror.durable, on.mirror.problem) == (True, False, "Fenced")
        await asyncio.sleep(0.02)
        calls = len(on.store.calls)
        await asyncio.sleep(0.05)
        assert len(on.store.calls) == calls


async def test_a_pod_that_writes_nothing_learns_of_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CLAIM_SECONDS", 0.01)
    async with stage(tmp_path, FakeStore()) as on:
        await on.mirror.claim.make(3)
        on.store.will("claim", Fault(), Fault(GONE), Fault(LATER))
        await until_fenced(on)
        assert on.mirror.problem == "Fenced"
        assert on.changes == 1, "a store that cannot tell for a moment is no news"


async def test_a_lower_number_is_refused_and_what_is_claimed_stays_claimed(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await on.mirror.claim.make(7)
        with pytest.raises(StoreFenced):
            await on.mirror.claim.make(1)
        on.write(entries(1))
        assert await on.mirror.settle(5)
        assert (on.store.claims, on.mirror.fenced) == ([7], False)


async def test_a_write_that_was_refused_for_the_pods_own_claim_is_tried_again(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await on.mirror.claim_as(9)
        on.store.will("append", Fault(LATER))
        on.write(entries(1))
        assert not await on.mirror.settle(5)
        await on.copied(entries(1))
        assert await on.mirror.settle(5)
        assert not on.mirror.fenced


async def test_what_others_have_written_after_a_claim_of_theirs_is_not_just_foreign(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await on.mirror.claim.make(3)
        on.store.will("append", Fault(GONE))
        on.write(entries(1))
        assert not await on.mirror.settle(5)
        on.store.will("claim", *[Fault(LATER)] * 3)
        on.store.data[None] = entries(1, 100)
        await until_fenced(on)
        assert on.mirror.problem == "Fenced"
        assert on.store.has() == entries(1, 100)
