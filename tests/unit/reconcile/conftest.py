"""Whatever these tests do: a condition that the operator makes is one that the documentation knows."""

from collections.abc import Iterator

import pytest

from agentsessions.api.conditions import Reason
from agentsessions.api.termination import ReportReason
from documentation.conditions import read
from documentation.trace import ROOT
from unit.said import Said, overheard

DOCUMENTED = frozenset[Said]().union(*read((ROOT / "docs" / "troubleshooting.md").read_text()))
OURS = {str(reason) for reason in (*Reason, *ReportReason)}
"""An image of somebody else's may report reasons of its own."""


@pytest.fixture(autouse=True, scope="module")
def _only_what_is_documented() -> Iterator[None]:
    def judge(said: Said) -> None:
        assert said in DOCUMENTED or said.reason not in OURS, f"docs/troubleshooting.md lacks {said}: run `make docs`"

    with overheard(judge):
        yield
