"""What the project promises about its own making."""

import re
import tomllib

import pytest

from documentation.trace import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.requirement("H22")
def test_the_sdk_and_with_it_the_cli_is_pinned_to_one_version_everywhere() -> None:
    (pin,) = [item for item in PROJECT["optional-dependencies"]["agent"] if item.startswith("claude-agent-sdk")]
    version = re.fullmatch(r"claude-agent-sdk==([\d.]+)", pin)
    assert version, f"{pin} is no exact version"
    lock = (ROOT / "agent-image" / "requirements.lock").read_text()
    assert re.search(rf"^claude-agent-sdk=={re.escape(version[1])}\s", lock, re.MULTILINE)


@pytest.mark.requirement("K05")
def test_it_is_built_on_what_it_says() -> None:
    extras = PROJECT["optional-dependencies"]
    named = {
        re.split(r"[<>=\[;]", item)[0] for item in (*PROJECT["dependencies"], *extras["operator"], *extras["agent"])
    }
    assert {"kopf", "kubernetes", "claude-agent-sdk", "pydantic", "prometheus-client"} <= named


@pytest.mark.requirement("K05")
@pytest.mark.parametrize("name", ["pyproject.toml", "operator", "agent-image", "crds", "charts", "tests", "Makefile"])
def test_it_is_laid_out_as_it_says(name: str) -> None:
    assert (ROOT / name).exists()
