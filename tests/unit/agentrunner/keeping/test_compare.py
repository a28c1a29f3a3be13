"""Which copy is the conversation, how it fits what is remembered, and whether its last turn was cut."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrunner.keeping.compare import Fit, Source, Verdict, cut_message, fit, judge, messages, unanswered
from agentrunner.lines import Entry, digest
from agentsessions.api.status import Transcript
from unit.agentrunner.keeping.talks import answered, asked, entries, noted, tool_result

ENTRIES = st.lists(st.fixed_dictionaries({"type": st.just("user"), "n": st.integers(0, 3)}), max_size=6)


def remembered(known: list[Entry]) -> Transcript | None:
    """Return what status says of a conversation that goes so far."""
    return Transcript(entries=len(known), last_entry_digest=digest(known[-1])) if known else None


def chosen(verdict: Verdict, disk: list[Entry], store: list[Entry] | None) -> list[Entry]:
    """Return the copy that was chosen."""
    return {Source.DISK: disk, Source.STORE: store or [], Source.NOTHING: []}[verdict.source]


@pytest.mark.requirement("H30")
@given(st.data(), ENTRIES)
def test_of_two_copies_that_agree_the_longer_wins_and_nothing_acknowledged_is_lost(
    data: st.DataObject, whole: list[Entry]
) -> None:
    """The writer goes on, its disk or its store lags behind: what both had was acknowledged, and is there."""
    disk = whole[: data.draw(st.integers(0, len(whole)))]
    store = whole[: data.draw(st.integers(0, len(whole)))]
    acknowledged = whole[: data.draw(st.integers(0, max(len(disk), len(store))))]
    verdict = judge(disk, store, remembered(acknowledged))
    longer = max(disk, store, key=len)
    assert chosen(verdict, disk, store) == longer
    assert verdict.fit is Fit.WHOLE
    assert chosen(verdict, disk, store)[: len(acknowledged)] == acknowledged
    assert verdict.mend_store is (len(disk) > len(store))


@given(ENTRIES, st.none() | ENTRIES, ENTRIES)
def test_a_whole_copy_is_never_passed_over_for_one_that_is_not(
    disk: list[Entry], store: list[Entry] | None, known: list[Entry]
) -> None:
    expected = remembered(known)
    verdict = judge(disk, store, expected)
    assert verdict.fit is fit(chosen(verdict, disk, store), expected)
    if verdict.fit is not Fit.WHOLE:
        assert fit(disk, expected) is not Fit.WHOLE
        assert fit(store or [], expected) is not Fit.WHOLE


@given(ENTRIES, ENTRIES, ENTRIES)
def test_the_store_is_only_written_over_by_what_goes_further_or_what_it_disagrees_with(
    disk: list[Entry], store: list[Entry], known: list[Entry]
) -> None:
    verdict = judge(disk, store, remembered(known))
    if verdict.mend_store:
        assert verdict.source is Source.DISK
        assert not (len(store) >= len(disk) and store[: len(disk)] == disk)


TWO, OTHER = entries(2), entries(2, start=7)


@pytest.mark.parametrize(
    ("disk", "store", "known", "expected"),
    [
        ([], None, [], Verdict(Source.NOTHING, Fit.WHOLE)),
        ([], [], [], Verdict(Source.NOTHING, Fit.WHOLE)),
        ([], None, TWO, Verdict(Source.NOTHING, Fit.MISSING)),
        ([], [], TWO, Verdict(Source.NOTHING, Fit.MISSING)),
        (TWO, None, TWO, Verdict(Source.DISK, Fit.WHOLE)),
        (TWO, [], TWO, Verdict(Source.DISK, Fit.WHOLE, mend_store=True)),
        ([], TWO, TWO, Verdict(Source.STORE, Fit.WHOLE)),
        ([], TWO, [], Verdict(Source.STORE, Fit.WHOLE)),
        (TWO, TWO, TWO, Verdict(Source.DISK, Fit.WHOLE)),
        ([], TWO[:1], TWO, Verdict(Source.STORE, Fit.TRUNCATED)),
        (TWO[:1], [], TWO, Verdict(Source.DISK, Fit.TRUNCATED, mend_store=True)),
        ([], OTHER, TWO, Verdict(Source.STORE, Fit.DIVERGED)),
        (OTHER, TWO, TWO, Verdict(Source.STORE, Fit.WHOLE)),
        (TWO, OTHER, TWO, Verdict(Source.DISK, Fit.WHOLE, mend_store=True)),
    ],
)
def test_which_copy_it_is(disk: list[Entry], store: list[Entry] | None, known: list[Entry], expected: Verdict) -> None:
    assert judge(disk, store, remembered(known)) == expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (None, Fit.WHOLE),
        (Transcript(), Fit.WHOLE),
        (Transcript(entries=1), Fit.WHOLE),
        (Transcript(entries=1, last_entry_digest=digest(TWO[0])), Fit.WHOLE),
        (Transcript(entries=2, last_entry_digest=digest(TWO[0])), Fit.DIVERGED),
        (Transcript(entries=3, last_entry_digest=digest(TWO[1])), Fit.TRUNCATED),
    ],
)
def test_a_conversation_may_have_gone_on_since_it_was_remembered(known: Transcript | None, expected: Fit) -> None:
    assert fit(TWO, known) is expected


@pytest.mark.requirement("H31")
@pytest.mark.parametrize(
    ("said", "cut"),
    [
        ([], None),
        ([{"type": "summary"}], None),
        ([asked("a")], "a"),
        ([asked("a"), answered("b")], None),
        ([asked("a"), answered("b", "tool_use")], "a"),
        ([asked("a"), answered("b", "tool_use"), tool_result("c")], "a"),
        ([asked("a"), answered("b", "tool_use"), tool_result("c"), answered("d")], None),
        ([asked("a"), answered("b"), asked("c")], "c"),
        ([asked("a"), answered("b"), asked("c", isMeta=True)], None),
        ([asked("a"), answered("b"), answered("s", "tool_use", isSidechain=True)], None),
        ([asked("a"), answered("b", "tool_use"), answered("s", isSidechain=True)], "a"),
        ([asked("a"), noted("b")], None),
        ([asked("a"), answered("b", "tool_use"), noted("c", "[Request interrupted by user for tool use]")], None),
        ([asked("a"), answered("b", "tool_use"), {"type": "attachment"}, {"type": "cost-state"}], "a"),
        ([tool_result("c")], None),
    ],
)
def test_a_turn_is_cut_if_its_message_or_a_tools_result_was_not_answered(said: list[Any], cut: str | None) -> None:
    assert cut_message(said) == cut


REPAIR = {
    "type": "assistant",
    "uuid": "r",
    "message": {"content": [{"type": "text", "text": "No response requested."}]},
}


@pytest.mark.requirement("H31")
@pytest.mark.parametrize(
    ("said", "without"),
    [
        ([asked("a"), asked("b"), answered("c")], ["a"]),
        ([asked("a"), answered("b", "tool_use"), tool_result("c"), asked("d"), answered("e")], ["a"]),
        ([asked("a"), answered("b", "tool_use"), REPAIR, asked("d"), answered("e")], ["a"]),
        ([asked("a"), noted("b"), asked("c"), answered("d")], []),
        ([asked("a"), answered("b"), asked("c")], ["c"]),
        ([tool_result("x"), asked("a"), answered("b")], []),
    ],
)
def test_what_was_cut_stays_cut_when_others_come_after_it(said: list[Any], without: list[str]) -> None:
    assert unanswered(said) == without


def test_messages_are_what_people_said() -> None:
    said = [asked("a"), answered("b", "tool_use"), tool_result("c"), noted("d"), asked("e", isMeta=True), asked("f")]
    said += [asked("s", isSidechain=True), {"type": "queue-operation", "uuid": "q"}]
    assert messages(said) == ["a", "f"]


@pytest.mark.parametrize("content", [None, 7, ["text"], [{"type": "image"}], "", [{"type": "text"}]])
def test_an_entry_of_another_version_does_not_break_the_reading(content: Any) -> None:
    odd = {"type": "user", "uuid": "a", "message": {"content": content}}
    assert cut_message([odd, answered("b")]) is None
    assert messages([odd]) == ["a"]
    assert messages([{"type": "user", "uuid": "a"}]) == ["a"]
