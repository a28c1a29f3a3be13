"""Every reason that a user can meet is explained, and nothing else."""

import re

import pytest

from agentsessions.api.conditions import Reason
from agentsessions.api.termination import ReportReason
from documentation.trace import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
KNOWN = {str(reason) for reason in (*Reason, *ReportReason)}


def sections(text: str, level: int) -> dict[str, str]:
    """Return the text under every heading of that level."""
    parts = re.split(rf"^{'#' * level} (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("reason", sorted(KNOWN))
def test_every_reason_is_explained(reason: str) -> None:
    assert sections(PAGE, 3).get(reason, "").strip(), f"docs/troubleshooting.md has nothing on {reason}"


def test_nothing_else_is_explained() -> None:
    assert set(sections(PAGE, 3)) == KNOWN


def test_every_alert_of_the_chart_has_a_runbook() -> None:
    rules = (ROOT / "charts" / "agentsessions" / "templates" / "prometheusrule.yaml").read_text()
    alerts = set(re.findall(r"alert: (\w+)", rules))
    assert alerts
    assert set(sections((ROOT / "docs" / "runbooks.md").read_text(), 2)) == alerts
