"""Signals that come before anything else is ready."""

import os
import signal
from collections.abc import Iterator

import pytest

from agentrunner.stopping import SIGNALS, StopFlag


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Put back what handled the signals before."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_remembered(number: signal.Signals) -> None:
    flag = StopFlag()
    assert flag.is_set is False
    signal.raise_signal(number)
    assert flag.is_set is True


@pytest.mark.parametrize("heard_first", [False, True])
def test_where_there_is_nothing_to_report_a_signal_ends_it(
    monkeypatch: pytest.MonkeyPatch, *, heard_first: bool
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    flag = StopFlag()
    if heard_first:
        signal.raise_signal(signal.SIGTERM)
    flag.leave_at_once()
    assert ended == [0] * heard_first
    signal.raise_signal(signal.SIGTERM)
    assert ended[-1:] == [0]
