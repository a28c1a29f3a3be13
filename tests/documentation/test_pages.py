"""Links lead somewhere, commands exist, and no page speaks of the machine it was written on."""

import re
from pathlib import Path

import pytest

from documentation.trace import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def identify(path: Path) -> str:
    """Return a short name for a test's parameter."""
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=identify)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link}: no such file"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=identify)
def test_make_targets_exist(page: Path) -> None:
    named = set(re.findall(r"`make (?:-s )?([a-z0-9-]+)", page.read_text()))
    assert named <= TARGETS


@pytest.mark.parametrize("page", PAGES, ids=identify)
def test_no_page_knows_a_machine(page: Path) -> None:
    assert not re.findall(r"/(?:root|work|tmp/plan)/|/home/(?!agent\b)\w+", page.read_text())


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"({page.name})" in index, f"docs/index.md does not name {page.name}"


def test_every_decision_is_in_the_list() -> None:
    folder = ROOT / "docs" / "adr"
    rows = re.findall(r"^\| \[(\d{4})\]\((.+)\) \| (.+) \|$", (folder / "README.md").read_text(), re.MULTILINE)
    titles = {page.name: page.read_text().splitlines()[0] for page in folder.glob("[0-9]*.md")}
    assert {name: f"# {int(number)}. {title}" for number, name, title in rows} == titles
