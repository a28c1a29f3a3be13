"""Generated pages are what the code says now."""

from pathlib import Path

from agentsessions.__main__ import main
from documentation import trace


def test_the_generated_pages_are_up_to_date(tmp_path: Path) -> None:
    assert main(["docs", "--out", str(tmp_path)]) == 0
    for page in tmp_path.iterdir():
        assert page.read_text() == (trace.ROOT / "docs" / page.name).read_text(), f"{page.name}: run `make docs`"


def test_the_api_reference_has_every_field_of_every_kind() -> None:
    text = (trace.ROOT / "docs" / "api.md").read_text()
    for field in ("pattern", "promptSecretRef.key", "agent.maxTurns", "modelEndpoint.egress[].port", "usage.costUsd"):
        assert f"| `{field}` |" in text


def test_every_marker_names_a_requirement() -> None:
    assert set(trace.traced()) <= set(trace.REQUIREMENTS)


def test_the_trace_of_requirements_is_up_to_date() -> None:
    assert (trace.ROOT / "docs" / "requirements.md").read_text() == trace.page(), "run `make docs`"
