"""Messages of a session: one turn at a time, and known again by their keys, in this pod and in the next."""

from pathlib import Path

import pytest

from agentrunner.serving.problems import Problem
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
    running = await turns.next()
    assert running is first is say(turns, "k")
    turns.end(running, "done")
    assert say(turns, "k") is first
    assert turns.count == 1


async def test_what_a_crash_cut_is_known_by_the_disk_and_not_run_again(path: Path) -> None:
    before = make(path)
    for key in ("done", "cut", "waiting"):
        say(before, key)
    before.end(await before.next(), "done")
    await before.next()
    after = make(path)
    assert say(after, "done").state == "done"
    assert refused(after, "cut") == "turn-interrupted"
    assert after.count == 3
    assert say(after, "waiting").state == "queued", "it had not begun"


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
        turns.end(await turns.next(), "done")
    assert len(make(path)._known) == KEPT


def test_no_prompt_is_written_down_or_shown(path: Path) -> None:
    turn = say(make(path), "k")
    assert "a prompt" not in path.read_text()
    assert "a prompt" not in repr(turn)
