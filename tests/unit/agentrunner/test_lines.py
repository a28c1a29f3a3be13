"""A transcript file as it grows: every line once, half-written ones later."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentrunner.lines import Entry, Tail, digest, dump, parse, read_all
from agentrunner.serving.history import History
from agentsessions.api.status import Transcript

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
ENTRIES = st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=4), max_size=8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "talk.jsonl"


def add(path: Path, content: bytes) -> None:
    """Write more."""
    with path.open("ab") as file:
        file.write(content)


@given(ENTRIES)
def test_what_is_dumped_is_parsed_again(entries: list[Entry]) -> None:
    assert list(parse(dump(entries).split(b"\n"))) == entries
    assert dump(entries).count(b"\n") == len(entries), "one a line, whatever is in it"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ENTRIES, st.data())
def test_however_the_writing_is_cut_every_line_is_read_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Entry], data: st.DataObject
) -> None:
    path, content = tmp_path_factory.mktemp("lines") / "x", dump(entries)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(content)), max_size=6)))
    tail, seen = Tail(path), []
    for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        add(path, content[start:end])
        fresh, other = tail.take()
        assert not other
        seen += fresh
    assert seen == entries
    assert tail.take() == ([], False)


def test_what_is_no_object_is_passed_over(path: Path) -> None:
    add(path, b'{"a":1}\nnot json\n[1]\n7\n\n\xff\xfe\n{"b":2}\n')
    assert read_all(path) == [{"a": 1}, {"b": 2}]


def test_a_line_without_its_end_waits(path: Path) -> None:
    tail = Tail(path)
    assert tail.take() == ([], False)
    add(path, b'{"a":')
    assert tail.take() == ([], False)
    add(path, b"1}")
    assert tail.take() == ([], False)
    add(path, b"\n")
    assert tail.take() == ([{"a": 1}], False)


@pytest.mark.parametrize("new", [b"", b'{"c":3}\n', b'{"c":3}\n{"d":4}\n{"e":5}\n{"f":6}\n'])
def test_another_file_is_read_from_its_beginning(path: Path, new: bytes) -> None:
    add(path, b'{"a":1}\n{"b":2}\n')
    tail = Tail(path)
    tail.take()
    scratch = path.with_name("new")
    scratch.write_bytes(new)
    scratch.replace(path)
    assert tail.take() == (list(parse(new.split(b"\n"))), True)
    add(path, b'{"z":0}\n')
    assert tail.take() == ([{"z": 0}], False)


def test_a_file_that_was_cut_short_is_another(path: Path) -> None:
    add(path, b'{"a":1}\n{"b":2}\n')
    tail = Tail(path)
    tail.take()
    path.write_bytes(b'{"a":1}\n')
    assert tail.take() == ([{"a": 1}], True)


def test_a_file_that_is_gone_is_another_once(path: Path) -> None:
    add(path, b'{"a":1}\n')
    tail = Tail(path)
    tail.take()
    path.unlink()
    assert tail.take() == ([], True)
    assert tail.take() == ([], False)
    add(path, b'{"b":2}\n')
    assert tail.take() == ([{"b": 2}], False)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4))
def test_a_digest_does_not_depend_on_how_an_entry_was_written_down(entry: Entry) -> None:
    shuffled = json.loads(json.dumps(dict(reversed(entry.items())), indent=2))
    assert digest(shuffled) == digest(entry)
    assert digest(entry | {"more": 1, "and more": 2}) != digest(entry)


def test_a_history_counts_what_is_there_and_begins_anew_with_another_file(path: Path) -> None:
    history = History(path)
    assert history.facts() is None
    add(path, b'{"a":1}\n{"b":2}\n')
    assert history.facts() == Transcript(entries=2, last_entry_digest=digest({"b": 2}))
    add(path, b'{"c":3}\n{"half')
    assert history.facts() == Transcript(entries=3, last_entry_digest=digest({"c": 3}))
    path.write_bytes(b'{"a":1}\n')
    assert history.facts() == Transcript(entries=1, last_entry_digest=digest({"a": 1}))
    path.unlink()
    assert history.facts() is None
