"""One session's keeping: what it begins with, and that it is let go of only when all of it is stored."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agentrunner.archive.errors import ArchiveError
from agentrunner.keeping.backends import Keeping
from agentrunner.keeping.files import METADATA, TranscriptFiles
from agentrunner.keeping.found import Found
from agentrunner.keeping.keeper import Keeper
from agentrunner.keeping.ledger import Ledger
from agentrunner.keeping.refusals import CannotKeep
from agentrunner.lines import Entry, digest, read_all
from agentrunner.serving.places import SessionPlaces
from agentrunner.serving.problems import Problem
from agentrunner.stores.base import StoreError, StoreRefused, StoreUnreachable
from agentsessions.api.host import Activation, Beginning
from agentsessions.api.status import Archive, Transcript, Usage
from unit.agentrunner.keeping.talks import SESSION, FakeStore, Fault, answered, asked, tool_result

SOURCE = "22222222-2222-4222-8222-222222222222"
LEDGER = "agentsessions/ledger"
TALK = [asked("a"), answered("b")]
KNOWN = Transcript(entries=2, last_entry_digest=digest(TALK[1]))
BILL = Usage(turns=3, output_tokens=9, cost_usd="0.5")


class FakeVault:
    """An archive that takes note, and fails where a test says."""

    def __init__(self) -> None:
        self.error: ArchiveError | None = None
        self.restored: list[str] = []
        self.saved: list[str] = []

    async def restore(self, session_id: str, trees: Any, marks: Path) -> None:
        """Take note."""
        if self.error is not None:
            raise self.error
        self.restored.append(session_id)

    async def save(self, session_id: str, trees: Any, marks: Path) -> Any:
        """Take note."""
        if self.error is not None:
            raise self.error
        self.saved.append(session_id)

        class Saved:
            generation, bytes, sha256, unchanged = 7, 1024, "abc", False

        return Saved

    async def close(self) -> None:
        """Nothing to close."""


class Stage:
    """A keeper in a pod of its own."""

    def __init__(self, folder: Path, store: FakeStore | None, vault: FakeVault | None = None) -> None:
        names = ("own", "config", "workspace", "tmp", "home")
        self.places = SessionPlaces(**{name: folder / name / SESSION for name in names})
        self.places.make()
        self.changes = 0
        self.keeper = Keeper(SESSION, self.places, Keeping(store, vault), self._changed)  # type: ignore[arg-type]
        self.files = TranscriptFiles(self.places.config, self.places.workspace, SESSION)

    def _changed(self) -> None:
        self.changes += 1

    async def find(self, **known: Any) -> Found:
        """Find a session that is new to the host."""
        found = await self.keeper.find(wanted(**known))
        await self.keeper.close()
        return found

    async def refused(self, **known: Any) -> tuple[int, str]:
        """Find one that is refused; return status and slug."""
        with pytest.raises(Problem) as caught:
            await self.keeper.find(wanted(**known))
        await self.keeper.close()
        return caught.value.status, caught.value.slug


def wanted(**known: Any) -> Activation:
    """Return what the control plane says of a session."""
    base = {"version": 1, "session_id": SESSION, "namespace": "team", "name": "talk"}
    return Activation.model_validate(base | known)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def on(tmp_path: Path, store: FakeStore) -> Stage:
    return Stage(tmp_path, store)


async def test_a_new_session_begins_with_nothing(on: Stage) -> None:
    found = await on.find()
    assert (found.beginning, list(found.messages), found.cut) == (Beginning.FRESH, [], None)
    assert (found.usage, found.fork_from) == (None, None)


@pytest.mark.requirement("H04", "H12")
async def test_another_pod_finds_conversation_subagents_and_bill_in_the_store(on: Stage, store: FakeStore) -> None:
    meta: Entry = {"type": METADATA, "agentType": "a"}
    bill: Entry = {"type": "usage", "usage": BILL.to_json()}
    store.data = {None: TALK, "subagents/agent-7": [meta, asked("s")], LEDGER: [bill]}
    found = await on.find(transcript=KNOWN, usage=Usage(turns=1))
    assert found == Found(Beginning.RESUMED, ["a"], usage=BILL)
    assert read_all(on.files.main) == TALK
    assert read_all(on.files.path("subagents/agent-7")) == [asked("s")]
    assert on.files.metadata("subagents/agent-7") == meta
    assert not on.files.path(LEDGER).exists(), "the bill is nobody's transcript"
    assert store.writes() == store.writes("replace") == 0


@pytest.mark.requirement("H31")
async def test_a_turn_that_a_lost_pod_cut_is_found(on: Stage, store: FakeStore) -> None:
    store.data = {None: [*TALK, asked("c"), answered("d", "tool_use"), tool_result("e")]}
    found = await on.find(transcript=KNOWN)
    assert (found.messages, found.cut) == (["a", "c"], "c")
    assert found.doubtful == ("c",)


@pytest.mark.requirement("H31")
async def test_a_turn_that_was_announced_and_never_heard_of_again_is_doubtful(on: Stage, store: FakeStore) -> None:
    store.data = {None: TALK, "agentsessions/begun": [{"type": "begun", "message": "x"}]}
    found = await on.find(transcript=KNOWN)
    assert (found.doubtful, found.cut, found.interrupted) == (("x",), None, True)


async def test_a_message_that_the_agent_was_never_given_is_not_doubtful_nor_is_the_turn_before_it(
    on: Stage, store: FakeStore
) -> None:
    unread = Ledger(BILL, "c", unread="x").entry()
    store.data = {
        None: [*TALK, asked("c")],
        "agentsessions/begun": [{"type": "begun", "message": "x"}],
        LEDGER: [unread],
    }
    found = await on.find(transcript=KNOWN)
    assert (found.doubtful, found.cut, found.interrupted, found.unread) == ((), None, False, "x")


@pytest.mark.requirement("H31")
async def test_turns_that_there_was_no_room_for_are_known_to_the_next_pod(on: Stage, store: FakeStore) -> None:
    store.data = {None: TALK, LEDGER: [Ledger(BILL, "a", unkept=("x", "y")).entry()]}
    found = await on.find(transcript=KNOWN)
    assert (found.unkept, found.interrupted, found.doubtful) == (("x", "y"), False, ())


@pytest.mark.parametrize("ended", ["a", "x"])
async def test_a_turn_that_came_to_its_end_is_not_doubtful(on: Stage, store: FakeStore, ended: str) -> None:
    note: Entry = {"type": "begun", "message": ended}
    store.data = {None: TALK, "agentsessions/begun": [note], LEDGER: [Ledger(BILL, ended).entry()]}
    found = await on.find(transcript=KNOWN)
    assert (found.doubtful, found.interrupted) == ((), False)


async def test_a_store_that_is_away_holds_no_turn_up(on: Stage, store: FakeStore) -> None:
    await on.keeper.announce("x")
    store.will("replace", Fault(StoreUnreachable("away")))
    await on.keeper.announce("y")
    assert store.has("agentsessions/begun") == [{"type": "begun", "message": "x"}]


@pytest.mark.requirement("H30")
@pytest.mark.parametrize(
    ("stored", "slug", "beginning"),
    [
        ([], "transcript-missing", Beginning.LOST),
        (TALK[:1], "transcript-truncated", Beginning.TRUNCATED),
        ([asked("a"), answered("x")], "transcript-diverged", Beginning.DIVERGED),
    ],
)
async def test_what_is_not_whole_is_refused_or_said(
    on: Stage, store: FakeStore, stored: list[Entry], slug: str, beginning: Beginning
) -> None:
    store.data = {None: list(stored)} if stored else {}
    assert await on.refused(transcript=KNOWN) == (409, slug)
    assert store.has() == stored, "a refusal changes nothing"
    assert not on.files.main.exists()
    assert (await on.find(transcript=KNOWN, on_missing_transcript="StartFresh")).beginning is beginning


async def test_a_session_that_had_turns_had_a_conversation(on: Stage) -> None:
    assert await on.refused(usage=Usage(turns=1)) == (409, "transcript-missing")
    assert (await on.find(usage=Usage())).beginning is Beginning.FRESH


@pytest.mark.parametrize(
    ("error", "slug"), [(StoreUnreachable("no answer"), "store-unreachable"), (StoreRefused("no"), "store-refused")]
)
async def test_without_an_answer_of_the_store_nothing_begins(
    on: Stage, store: FakeStore, error: StoreError, slug: str
) -> None:
    store.down = error
    assert await on.refused() == (503, slug)
    store.down = None
    store.will("load", Fault(error))
    assert await on.refused() == (503, slug)


async def test_a_store_that_names_files_elsewhere_is_refused(on: Stage, store: FakeStore) -> None:
    store.data = {None: TALK, "../../x": [asked("a")]}
    assert await on.refused() == (503, "store-refused")


async def test_a_disk_that_goes_further_mends_the_store(on: Stage, store: FakeStore) -> None:
    store.data = {None: TALK[:1]}
    on.files.write(None, TALK)
    assert (await on.find(transcript=KNOWN)).beginning is Beginning.RESUMED
    assert store.has() == TALK


@pytest.mark.requirement("H12")
async def test_the_workspace_is_back_before_the_session_begins(tmp_path: Path, store: FakeStore) -> None:
    vault = FakeVault()
    store.data = {None: TALK}
    on = Stage(tmp_path, store, vault)
    await on.find(transcript=KNOWN)
    assert vault.restored == [SESSION]
    vault.error = ArchiveError("damaged")
    assert await on.refused(transcript=KNOWN) == (503, "archive-failed")


class Forking(FakeStore):
    """A store that has another session's conversation too."""

    def __init__(self, source: list[Entry] | None) -> None:
        super().__init__()
        self.source = source

    async def load(self, key: Any) -> Any:
        """Return entries."""
        if key["session_id"] == SOURCE:
            return self.source if "subpath" not in key else [asked("s")]
        return await super().load(key)

    async def list_subkeys(self, key: Any) -> list[str]:
        """Return the subpaths."""
        return ["subagents/agent-1", LEDGER] if key["session_id"] == SOURCE else []


@pytest.mark.requirement("H12")
async def test_a_fork_has_the_others_conversation_at_hand_and_its_files_but_not_its_bill(tmp_path: Path) -> None:
    vault, store = FakeVault(), Forking(TALK)
    on = Stage(tmp_path, store, vault)
    found = await on.find(fork_from=SOURCE)
    assert (found.beginning, found.fork_from, found.usage) == (Beginning.FORKED, SOURCE, None)
    copy = TranscriptFiles(on.places.config, on.places.workspace, SOURCE)
    assert read_all(copy.main) == TALK
    assert read_all(copy.path("subagents/agent-1")) == [asked("s")]
    assert vault.restored == [SOURCE]
    assert store.has() == [], "nothing of its own yet"
    assert not on.files.main.exists()


@pytest.mark.parametrize("source", [None, [], [{"type": "summary"}]])
async def test_a_fork_of_nothing_does_not_begin(tmp_path: Path, source: list[Entry] | None) -> None:
    assert await Stage(tmp_path, Forking(source)).refused(fork_from=SOURCE) == (409, "fork-source-missing")


async def test_a_fork_that_has_begun_goes_its_own_way(tmp_path: Path) -> None:
    store = Forking(None)
    store.data = {None: TALK}
    found = await Stage(tmp_path, store).find(fork_from=SOURCE, transcript=KNOWN)
    assert (found.beginning, found.fork_from) == (Beginning.RESUMED, None)


@pytest.mark.requirement("H39")
@pytest.mark.parametrize(
    ("ledger", "told", "expected"),
    [
        (None, BILL, BILL),
        (None, None, None),
        ({"usage": BILL.to_json()}, None, BILL),
        ({"usage": BILL.to_json()}, Usage(turns=2), BILL),
        ({"usage": BILL.to_json()}, Usage(turns=4), Usage(turns=4)),
        ({"usage": "nonsense"}, Usage(turns=4), Usage(turns=4)),
        ({}, Usage(turns=4), Usage(turns=4)),
    ],
)
async def test_the_bill_is_the_one_that_goes_further(
    on: Stage, store: FakeStore, ledger: Entry | None, told: Usage | None, expected: Usage | None
) -> None:
    store.data = {None: TALK} | ({LEDGER: [ledger]} if ledger is not None else {})
    assert (await on.find(usage=told)).usage == expected


async def test_a_settled_turn_and_its_bill_are_in_the_store(on: Stage, store: FakeStore) -> None:
    await on.keeper.find(wanted())
    on.files.write(None, TALK)
    assert await on.keeper.settle(Ledger(BILL)) is True
    assert store.has() == TALK
    assert store.has(LEDGER) == [Ledger(BILL).entry()]
    store.will("replace", Fault(StoreUnreachable("no answer")))
    assert await on.keeper.settle(Ledger(BILL)) is True, "the bill alone holds nobody up"
    await on.keeper.close()


@pytest.mark.parametrize(("under_way", "settled"), [("append", False), ("count", True), ("replace", True)])
async def test_what_is_under_way_when_a_session_is_forgotten_ends_first_and_nothing_follows(
    on: Stage, store: FakeStore, under_way: str, settled: bool
) -> None:
    await on.keeper.find(wanted(epoch=1))
    on.files.write(None, TALK)
    store.calls.clear()
    store.will(under_way, Fault(seconds=0.2))
    settling = asyncio.create_task(on.keeper.settle(Ledger(BILL, "a")))
    while not any(name == under_way for name, _, _ in store.calls):  # noqa: ASYNC110 - the store is being told
        await asyncio.sleep(0.01)
    await on.keeper.close(forget=True)
    before = list(store.calls)
    store.data.clear()  # by whoever removes what is stored
    assert await settling is settled
    await on.keeper.announce("b")
    assert await on.keeper.settle(Ledger(BILL, "b")) is None
    assert (store.calls, store.data) == (before, {})


async def test_a_turn_that_is_being_announced_when_its_session_is_forgotten_leaves_no_note(
    on: Stage, store: FakeStore
) -> None:
    await on.keeper.find(wanted())
    store.will("replace", Fault(seconds=0.2))
    announcing = asyncio.create_task(on.keeper.announce("a"))
    await asyncio.sleep(0.05)
    await on.keeper.close(forget=True)
    store.data.clear()
    await announcing
    assert store.data == {}


async def test_without_a_store_there_is_nothing_to_settle(tmp_path: Path) -> None:
    on = Stage(tmp_path, None)
    assert (await on.find()).beginning is Beginning.FRESH
    assert await on.keeper.settle(Ledger(BILL)) is None
    assert on.keeper.told() == {"durable": None, "store_problem": None, "store_repairs": 0, "archive": None}
    assert on.keeper.sdk_store is None
    await on.keeper.put_away(Ledger(BILL))


@pytest.mark.requirement("H04", "H12")
async def test_it_is_put_away_only_with_all_of_it_stored(tmp_path: Path, store: FakeStore) -> None:
    vault = FakeVault()
    on = Stage(tmp_path, store, vault)
    await on.keeper.find(wanted())
    on.files.write(None, TALK)
    store.down = StoreUnreachable("no answer")
    with pytest.raises(CannotKeep) as behind:
        await on.keeper.put_away(Ledger(BILL))
    assert (behind.value.reason, vault.saved) == ("StoreBehind", [])
    store.down, vault.error = None, ArchiveError("too large")
    with pytest.raises(CannotKeep, match="too large") as failed:
        await on.keeper.put_away(Ledger(BILL))
    assert failed.value.reason == "ArchiveFailed"
    vault.error = None
    await on.keeper.put_away(Ledger(BILL))
    archive = Archive(generation=7, size=1024, digest="sha256:abc")
    assert on.keeper.told() == {"durable": True, "store_problem": None, "store_repairs": 0, "archive": archive}
    await on.keeper.close()
