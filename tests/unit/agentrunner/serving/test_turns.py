"""Messages of a session: one turn at a time, and known again by their keys, in this pod and in the next."""

import asyncio
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from agentrunner.serving.problems import Problem
from agentrunner.serving.reserve import Reserve
from agentrunner.serving.turns import KEPT, Turn, Turns, message_uuid

SESSION = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "turns.json"


def make(path: Path, max_queued: int = 8) -> Turns:
    """Return the turns of a session."""
    return Turns(path, max_queued, SESSION)


def say(turns: Turns, key: str | None = None, *, reject: bool = False) -> Turn:
    """Send a message."""
    return turns.submit("a prompt", key, reject_when_busy=reject, after=0, incarnation="one")


def refused(turns: Turns, key: str | None = None, *, reject: bool = False) -> str:
    """Send a message that is refused; return the problem's slug."""
    with pytest.raises(Problem) as caught:
        say(turns, key, reject=reject)
    return caught.value.slug


async def begin(turns: Turns) -> Turn:
    """Begin with the next turn, for which there is room."""
    turn = await turns.next()
    assert await turns.begun(turn)
    return turn


def test_a_message_with_a_key_has_a_uuid_that_another_pod_finds() -> None:
    assert message_uuid(SESSION, "k") == message_uuid(SESSION, "k")
    others = {message_uuid(SESSION, "other"), message_uuid("22222222-2222-4222-8222-222222222222", "k")}
    assert message_uuid(SESSION, "k") not in others


def test_the_uuid_stands_in_the_turn_and_without_a_key_it_is_of_no_other(path: Path) -> None:
    turns = make(path)
    assert say(turns, "k").uuid == message_uuid(SESSION, "k")
    assert say(turns).uuid != say(turns).uuid


@pytest.mark.requirement("H03")
def test_in_another_pod_what_was_answered_is_known_and_what_was_cut_is_refused(path: Path) -> None:
    turns = make(path)
    turns.found([message_uuid(SESSION, key) for key in ("done", "cut")], message_uuid(SESSION, "cut"))
    known = say(turns, "done")
    assert (known.state, known.is_over, turns.queued) == ("done", True, 0)
    assert known.ended.is_set()
    assert refused(turns, "cut") == "turn-interrupted"
    assert say(turns, "new").state == "queued"
    assert turns.cut == message_uuid(SESSION, "cut")


@pytest.mark.requirement("H31")
def test_what_was_cut_long_ago_or_never_heard_of_is_not_said_to_be_done(path: Path) -> None:
    turns = make(path)
    uuids = {key: message_uuid(SESSION, key) for key in ("cut", "done", "unheard")}
    turns.found([uuids["cut"], uuids["done"]], None, [uuids["cut"], uuids["unheard"]])
    assert refused(turns, "cut") == refused(turns, "unheard") == "turn-interrupted"
    assert say(turns, "done").state == "done"
    assert turns.count == 2


def test_messages_are_counted_on_from_the_transcript(path: Path) -> None:
    turns = make(path)
    turns.found(["a", "b", "c"], None)
    assert turns.count == 3
    assert say(turns).number == 4
    turns.found(["a"], None)
    assert turns.count == 4


def test_without_a_conversation_nothing_is_known(path: Path) -> None:
    turns = make(path)
    turns.found([], None)
    assert (turns.count, turns.cut) == (0, None)
    assert say(turns, "k").state == "queued"


async def test_a_key_is_one_turn(path: Path) -> None:
    turns = make(path)
    first = say(turns, "k")
    assert say(turns, "k") is first
    running = await begin(turns)
    assert running is first is say(turns, "k")
    turns.end(running, "done")
    assert say(turns, "k") is first
    assert turns.count == 1


async def test_what_a_crash_cut_is_known_by_the_disk_and_not_run_again(path: Path) -> None:
    before = make(path)
    for key in ("done", "cut", "waiting"):
        say(before, key)
    before.end(await begin(before), "done")
    await begin(before)
    after = make(path)
    assert say(after, "done").state == "done"
    assert refused(after, "cut") == "turn-interrupted"
    assert after.count == 3
    assert say(after, "waiting").state == "queued", "it had not begun"


def fill(path: Path) -> Path:
    """Leave no room where turns are kept: every write ends with ENOSPC until what is returned is removed."""
    full = path.with_name(f".{path.name}.new")
    full.symlink_to("/dev/full")
    return full


async def test_a_message_that_cannot_be_written_down_is_refused_and_has_not_begun(path: Path) -> None:
    turns = make(path)
    full = fill(path)
    assert refused(turns, "k") == "no-room"
    assert (turns.queued, turns.busy, turns.knows("k"), turns.count) == (0, False, False, 0)
    full.unlink()
    assert say(turns, "k") is await turns.next()


async def test_a_turn_begins_once_that_can_be_written_down(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentrunner.serving.turns._ROOM_SECONDS", 0.01)
    turns = make(path)
    turn = say(turns, "k")
    full = fill(path)
    begun = asyncio.create_task(turns.begun(await turns.next()))
    await asyncio.sleep(0.05)
    assert not begun.done()
    full.unlink()
    assert await begun
    assert turns.running is turn
    assert refused(make(path), "k") == "turn-interrupted", "it is on disk that it had begun"


@pytest.mark.parametrize(("bound", "seconds"), [(None, 10), (3, 3)], ids=["patience", "time-of-the-turn"])
async def test_a_turn_without_room_is_given_back_in_time_and_may_be_sent_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, bound: float | None, seconds: int
) -> None:
    monkeypatch.setattr("agentrunner.serving.turns._ROOM_SECONDS", 0.05)
    monkeypatch.setattr("agentrunner.serving.turns._PATIENCE_SECONDS", 0.5)
    turns = make(path)
    say(turns, "k")
    full, began = fill(path), asyncio.get_running_loop().time()
    turn = await turns.next()
    assert not await turns.begun(turn, bound and bound / 20)
    assert asyncio.get_running_loop().time() - began == pytest.approx(seconds / 20, abs=0.1)
    turns.take_back(turn)
    assert (turns.busy, turns.knows("k"), turn.ended.is_set()) == (False, False, True)
    full.unlink()
    assert say(make(path), "k").state == say(turns, "k").state == "queued"


async def test_an_interrupted_turn_does_not_wait_for_room(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentrunner.serving.turns._ROOM_SECONDS", 0.01)
    turns = make(path)
    say(turns, "k")
    fill(path)
    begun = asyncio.create_task(turns.begun(turn := await turns.next()))
    await asyncio.sleep(0.05)
    assert not begun.done()
    turn.unwanted = True
    assert not await asyncio.wait_for(begun, 1)


async def test_what_is_held_back_is_spent_on_a_message_and_held_again_after_its_turn(path: Path) -> None:
    reserve = path.with_name("reserve")
    turns = Turns(path, 8, SESSION, Reserve(reserve, 4096))
    assert reserve.stat().st_blocks > 0
    fill(path)
    assert refused(turns, "k") == "no-room"
    assert not reserve.exists()
    path.with_name(f".{path.name}.new").unlink()
    say(turns, "k")
    turns.end(await begin(turns), "done")
    assert reserve.stat().st_size == 4096


@pytest.mark.parametrize(("free", "kept"), [(4095, False), (4096, True)])
async def test_a_turn_that_begins_with_little_room_is_given_what_was_held_back(
    path: Path, monkeypatch: pytest.MonkeyPatch, free: int, kept: bool
) -> None:
    spare = path.with_name("spare")
    turns = Turns(path, 8, SESSION, Reserve(spare, 4096))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    say(turns, "k")
    turn = await begin(turns)
    assert spare.exists() is kept
    turns.end(turn, "done")
    assert spare.exists()


async def test_a_turn_whose_end_cannot_be_written_down_ends_and_is_never_begun_again(path: Path) -> None:
    turns = make(path)
    say(turns, "k")
    turn = await begin(turns)
    full = fill(path)
    turns.end(turn, "done")
    assert turn.ended.is_set()
    assert not turns.busy
    assert say(turns, "k") is turn
    full.unlink()
    assert refused(make(path), "k") == "turn-interrupted"


def test_so_many_wait_and_no_more(path: Path) -> None:
    turns = make(path, max_queued=2)
    for _ in range(2):
        say(turns)
    assert refused(turns) == "queue-full"
    assert refused(turns, reject=True) == "turn-in-progress"


async def test_only_so_many_keys_are_remembered(path: Path) -> None:
    turns = make(path)
    for number in range(KEPT + 1):
        say(turns, str(number))
        turns.end(await begin(turns), "done")
    assert len(make(path)._known) == KEPT


async def test_a_message_that_is_refused_for_want_of_room_costs_no_other_its_key(path: Path) -> None:
    turns = make(path)
    for number in range(KEPT):
        say(turns, str(number))
        turns.end(await begin(turns), "done")
    full = fill(path)
    assert {refused(turns, f"more {number}") for number in range(KEPT)} == {"no-room"}
    full.unlink()
    assert say(turns, "0").state == say(make(path), "0").state == "done"


async def test_a_turn_that_is_not_over_keeps_its_key_however_many_come_after_it(path: Path) -> None:
    turns = make(path, max_queued=KEPT + 1)
    first = say(turns, "0")
    for number in range(1, KEPT + 1):
        say(turns, str(number))
    assert say(turns, "0") is first
    turns.end(await begin(turns), "done")
    say(turns, "more")
    assert not turns.knows("0")


def test_no_prompt_is_written_down_or_shown(path: Path) -> None:
    turn = say(make(path), "k")
    assert "a prompt" not in path.read_text()
    assert "a prompt" not in repr(turn)
