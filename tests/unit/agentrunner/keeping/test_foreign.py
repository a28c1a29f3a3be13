"""A store that has what the disk has not: another pod wrote it, or the disk lost it. It is never overwritten."""

import asyncio
from pathlib import Path

import pytest

from agentrunner.lines import Entry
from agentrunner.stores.base import StoreUnreachable
from unit.agentrunner.keeping.copying import stage
from unit.agentrunner.keeping.talks import Fault, entries

FOREIGN: list[Entry] = [{"type": "assistant", "uuid": "foreign"}]
PUMPED_SECONDS = 1.2
"""Until the copying in the background has tried again."""


@pytest.mark.requirement("H30", "H31")
async def test_what_another_pod_wrote_is_never_overwritten(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.write(entries(3))
        assert await on.mirror.settle(1)
        theirs = [*entries(3), *entries(2, 100)]
        on.store.data[None] = list(theirs)
        on.write(entries(1, 3))
        assert not await on.mirror.settle(1)
        assert (on.mirror.durable, on.mirror.problem) == (False, "TranscriptDiverged")
        assert on.store.has()[: len(theirs)] == theirs or on.store.has() == theirs
        assert on.mirror.repairs == 0


@pytest.mark.requirement("H30")
async def test_a_transcript_that_vanishes_from_the_disk_stays_in_the_store(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.write(entries(4))
        assert await on.mirror.settle(1)
        on.files.main.unlink()
        assert not await on.mirror.settle(1)
        assert on.mirror.problem == "TranscriptDiverged"
        assert on.store.has() == entries(4)


@pytest.mark.requirement("H30", "H31")
async def test_what_was_found_stays_said_and_the_next_turn_is_not_added(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.write(entries(3))
        assert await on.mirror.settle(1)
        on.store.data[None] = entries(3) + FOREIGN
        assert not await on.mirror.settle(1)
        await asyncio.sleep(PUMPED_SECONDS)
        assert (on.mirror.durable, on.mirror.problem) == (False, "TranscriptDiverged")
        on.write(entries(2, 3))
        assert not await on.mirror.settle(1)
        assert on.store.has() == entries(3) + FOREIGN


@pytest.mark.requirement("H30")
@pytest.mark.parametrize("call", ["load", "replace"])
async def test_a_store_that_cannot_be_mended_is_not_called_durable(tmp_path: Path, call: str) -> None:
    async with stage(tmp_path) as on:
        on.write(entries(3))
        assert await on.mirror.settle(1)
        on.store.data.clear()
        on.store.will(call, Fault(StoreUnreachable("no answer")))
        assert not await on.mirror.settle(1)
        await asyncio.sleep(PUMPED_SECONDS)
        assert not on.mirror.durable or on.store.has() == entries(3)
