"""Every reason that a user can meet is explained, and nothing else."""

import re

import pytest

from agentsessions.api.conditions import Reason
from agentsessions.api.termination import ReportReason
from documentation import conditions
from documentation.trace import ROOT
from unit import reach

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
KNOWN = {str(reason) for reason in (*Reason, *ReportReason)}


def sections(text: str, level: int) -> dict[str, str]:
    """Return the text under every heading of that level."""
    parts = re.split(rf"^{'#' * level} (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("reason", sorted(KNOWN))
def test_every_reason_is_explained(reason: str) -> None:
    assert sections(PAGE, 3).get(reason, "").strip(), f"docs/troubleshooting.md has nothing on {reason}"


def test_nothing_else_is_explained_and_nothing_twice() -> None:
    assert sorted(re.findall(r"^### (.+)$", PAGE, flags=re.MULTILINE)) == sorted(KNOWN)


def test_every_condition_that_is_reached_is_documented_and_every_one_that_is_documented_is_reached() -> None:
    assert conditions.read(PAGE) == (reach.of_sessions(), reach.of_pools()), "run `make docs`"


def test_every_reason_is_that_of_a_condition_or_is_said_to_be_that_of_an_event() -> None:
    of_conditions = {said.reason for found in conditions.read(PAGE) for said in found}
    of_events = {reason for reason, text in sections(PAGE, 3).items() if text.strip().startswith("An event")}
    assert of_conditions <= KNOWN
    assert of_conditions | of_events == KNOWN


def test_every_alert_of_the_chart_has_a_runbook() -> None:
    rules = (ROOT / "charts" / "agentsessions" / "templates" / "prometheusrule.yaml").read_text()
    alerts = set(re.findall(r"alert: (\w+)", rules))
    assert alerts
    assert set(sections((ROOT / "docs" / "runbooks.md").read_text(), 2)) == alerts
