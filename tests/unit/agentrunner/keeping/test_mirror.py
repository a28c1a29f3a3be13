"""The copying into a store: in order, nothing doubled, nothing left out, whatever the store does."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentrunner.keeping import mirror as module
from agentrunner.keeping.files import METADATA
from agentrunner.lines import Entry, dump
from agentrunner.stores.base import StoreError, StoreRefused, StoreUnreachable
from unit.agentrunner.keeping.copying import stage
from unit.agentrunner.keeping.talks import FakeStore, Fault, entries

SUB = "subagents/agent-7"
GONE, NO = StoreUnreachable("no answer"), StoreRefused("no")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_BACKOFF", 0.001)
    monkeypatch.setattr(module, "_FILE_SECONDS", 0.05)


async def test_what_the_cli_writes_is_in_the_store_at_once_and_in_order(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        for number in range(5):
            on.write(entries(2, number * 2))
            await on.announce(entries(2, number * 2))
            await on.copied(entries(number * 2 + 2))
        assert on.store.writes("replace") == 0
        assert (on.mirror.durable, on.changes) == (True, 0)


async def test_lines_that_the_sdk_does_not_tell_of_are_copied_too(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        silent: Entry = {"type": "last-prompt"}
        on.write([*entries(1), silent])
        await on.announce(entries(1))
        assert await on.mirror.settle(5)
        assert on.store.has() == [*entries(1), silent]


async def test_a_turn_is_not_settled_before_the_file_has_what_was_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FILE_SECONDS", 5.0)
    async with stage(tmp_path) as on:
        await on.announce(entries(1))
        settling = asyncio.create_task(on.mirror.settle(5))
        await asyncio.sleep(0.05)
        assert not settling.done()
        on.write(entries(1))
        assert await settling
        assert on.store.has() == entries(1)


async def test_what_was_announced_and_never_written_holds_a_turn_up_only_so_long(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await on.announce(entries(1))
        async with asyncio.timeout(1):
            assert await on.mirror.settle(5)
            assert await on.mirror.settle(5)


async def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.write(entries(1))
        whole = dump(entries(1, 1))
        with on.files.main.open("ab") as file:
            file.write(whole[:5])
        assert await on.mirror.settle(1)
        assert on.store.has() == entries(1)
        with on.files.main.open("ab") as file:
            file.write(whole[5:])
        assert await on.mirror.settle(1)
        assert on.store.has() == entries(2)


async def test_subagents_and_their_metadata_are_copied_under_their_own_names(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.write(entries(1))
        on.write(entries(2, 10), SUB)
        sidecar = on.files.path(SUB).with_name("agent-7.meta.json")
        sidecar.write_text('{"agentType": "a"}')
        assert await on.mirror.settle(1)
        meta = {"type": METADATA, "agentType": "a"}
        assert on.store.data == {None: entries(1), SUB: [*entries(2, 10), meta]}
        sidecar.write_text('{"agentType": "b"}')
        assert await on.mirror.settle(1)
        assert on.store.has(SUB) == [*entries(2, 10), meta, {"type": METADATA, "agentType": "b"}]
        written = len(on.store.calls)
        assert await on.mirror.settle(1)
        assert {name for name, _, _ in on.store.calls[written:]} == {"count"}, "nothing new, nothing written"


@pytest.mark.requirement("H30")
@pytest.mark.parametrize(
    ("fault", "appends", "replaces"),
    [
        pytest.param(Fault(GONE), 2, 0, id="the-write-never-came"),
        pytest.param(Fault(GONE, done=True), 1, 0, id="its-answer-never-came"),
        pytest.param(Fault(GONE, part=1), 2, 0, id="a-part-of-it-came"),
        pytest.param(Fault(lose=True), 1, 1, id="it-was-lost"),
    ],
)
async def test_a_write_that_failed_is_neither_left_out_nor_doubled(
    tmp_path: Path, fault: Fault, appends: int, replaces: int
) -> None:
    async with stage(tmp_path) as on:
        on.store.will("append", fault)
        on.write(entries(3))
        await on.mirror.settle(1)
        await on.copied(entries(3))
        assert await on.mirror.settle(1)
        assert on.store.has() == entries(3)
        assert (on.store.writes(), on.store.writes("replace")) == (appends, replaces)
        assert on.mirror.repairs == (1 if fault.lose else 0)
        assert (on.mirror.durable, on.mirror.problem) == (True, None)


async def test_lines_that_came_while_an_answer_was_awaited_are_not_taken_for_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.store.will("append", Fault(GONE, done=True))
        on.write(entries(2))
        assert not await on.mirror.settle(1)
        on.write(entries(3, 2))
        await on.copied(entries(5))
        assert await on.mirror.settle(1)
        assert on.store.has() == entries(5)


@pytest.mark.requirement("H30")
@pytest.mark.parametrize(("error", "problem"), [(GONE, "StoreUnreachable"), (NO, "StoreRefused")])
async def test_a_store_that_is_down_is_told_of_once_and_caught_up_with(
    tmp_path: Path, error: StoreError, problem: str
) -> None:
    async with stage(tmp_path) as on:
        on.write(entries(2))
        assert await on.mirror.settle(1)
        on.store.down = error
        for number in range(3):
            on.write(entries(1, 2 + number))
            assert not await on.mirror.settle(1)
        assert (on.mirror.durable, on.mirror.problem, on.changes) == (False, problem, 1)
        on.store.down = None
        await on.copied(entries(5))
        assert await on.mirror.settle(1)
        assert (on.mirror.durable, on.mirror.problem, on.changes) == (True, None, 2)
        assert on.mirror.repairs == 0


@pytest.mark.requirement("H30")
@pytest.mark.parametrize("left", [[], entries(1), entries(4), entries(3) + entries(1)])
async def test_a_store_that_was_changed_behind_our_back_gets_it_all_from_the_disk(
    tmp_path: Path, left: list[Entry]
) -> None:
    """Four of its own, or fewer, or one of them twice: only the number is looked at."""
    async with stage(tmp_path) as on:
        on.write(entries(3))
        await on.mirror.settle(1)
        on.store.data[None] = left
        on.write(entries(2, 3))
        assert await on.mirror.settle(1)
        assert on.store.has() == entries(5)
        assert on.mirror.repairs == 1


async def test_a_settling_ends_in_its_time_and_the_copying_goes_on(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.store.will("append", Fault(seconds=60))
        on.write(entries(1))
        began = asyncio.get_running_loop().time()
        assert not await on.mirror.settle(0.1)
        assert asyncio.get_running_loop().time() - began < 2
        assert on.mirror.problem == "StoreUnreachable"
        await on.copied(entries(1))
        assert await on.mirror.settle(1)
        assert on.store.has() == entries(1)


async def test_a_settling_waits_for_the_write_that_is_under_way(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.store.will("append", Fault(seconds=0.1))
        on.write(entries(1))
        await on.announce(entries(1))
        await asyncio.sleep(0.02)
        on.write(entries(1, 1))
        assert await on.mirror.settle(5)
        assert on.store.has() == entries(2)
        assert on.store.writes("replace") == 0


async def test_it_goes_on_from_what_the_store_has(tmp_path: Path) -> None:
    store = FakeStore({None: entries(2)})
    async with stage(tmp_path, store, begun=False) as on:
        on.write(entries(5))
        await on.mirror.begin()
        await on.copied(entries(5))
        assert [number for name, _, number in store.calls if name == "append"] == [3]


async def test_a_beginning_without_an_answer_copies_all_once_there_is_one(tmp_path: Path) -> None:
    store = FakeStore({None: entries(1), SUB: entries(1, 10)}, down=GONE)
    async with stage(tmp_path, store, begun=False) as on:
        on.write(entries(3))
        on.write(entries(2, 10), SUB)
        with pytest.raises(StoreUnreachable):
            await on.mirror.begin()
        on.mirror.begin_unseen("StoreUnreachable")
        assert (on.mirror.durable, on.mirror.problem) == (False, "StoreUnreachable")
        store.down = None
        await on.copied(entries(3))
        await on.copied(entries(2, 10), SUB)
        assert await on.mirror.settle(1)


async def test_a_file_that_is_replaced_by_the_whole_and_more_is_the_conversation(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.write(entries(3))
        await on.mirror.settle(1)
        on.files.write(None, entries(6))
        assert await on.mirror.settle(1)
        assert on.store.has() == entries(6)


async def test_what_the_sdk_sees_is_an_empty_store(tmp_path: Path) -> None:
    async with stage(tmp_path, FakeStore({None: entries(3)})) as on:
        assert await on.mirror.signal.load(on.files.key()) is None


async def test_it_can_be_closed_twice_and_before_it_began(tmp_path: Path) -> None:
    async with stage(tmp_path, begun=False) as on:
        await on.mirror.close()
        await on.mirror.begin()
        await on.mirror.close()
        await on.mirror.close()


FAULTS = st.sampled_from(
    [None, Fault(GONE), Fault(GONE, done=True), Fault(GONE, part=1), Fault(lose=True), Fault(NO), Fault(GONE, part=0)]
)


@pytest.mark.requirement("H30")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(1, 3), FAULTS, st.booleans()), min_size=1, max_size=6),
    st.lists(st.sampled_from([Fault(GONE), Fault(GONE, done=True)]), max_size=2),
)
def test_whatever_fails_a_settled_store_has_exactly_what_the_disk_has(
    tmp_path_factory: pytest.TempPathFactory,
    story: list[tuple[int, Fault | None, bool]],
    replaced: list[Fault],
) -> None:
    async def run() -> None:
        async with stage(tmp_path_factory.mktemp("claude")) as on:
            on.store.will("replace", *replaced)
            written = 0
            for number, fault, settle in story:
                if fault is not None:
                    on.store.will("append", fault)
                on.write(entries(number, written))
                written += number
                if settle and await on.mirror.settle(2):
                    assert on.store.has() == entries(written)
            on.store.faults.clear()
            assert await on.mirror.settle(2) or await on.mirror.settle(2)
            assert on.store.has() == entries(written)

    asyncio.run(run())
