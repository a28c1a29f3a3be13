"""The locked versions are ones that the project asks for."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from images.catalog import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def _locked(path: str) -> dict[str, str]:
    lines = (REPOSITORY / path).read_text().splitlines()
    return {m[1]: m[2] for line in lines if (m := re.match(r"([a-z0-9._-]+)==(\S+)", line))}


@pytest.mark.requirement("H22")
@pytest.mark.parametrize(
    ("extra", "lock"), [("agent", "agent-image/requirements.lock"), ("operator", "operator/requirements.lock")]
)
def test_a_lock_file_follows_the_project(extra: str, lock: str) -> None:
    wanted = [Requirement(text) for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"][extra]]
    locked = _locked(lock)
    assert {r.name: r.specifier.contains(locked.get(r.name, "0")) for r in wanted} == {r.name: True for r in wanted}


@pytest.mark.requirement("H22")
def test_the_sdk_is_one_version_and_so_is_its_cli() -> None:
    sdk = f"claude-agent-sdk=={_locked('agent-image/requirements.lock')['claude-agent-sdk']}"
    assert [text for text in PROJECT["optional-dependencies"]["agent"] if "sdk" in text] == [sdk]


@pytest.mark.parametrize(
    "lock", ["agent-image/requirements.lock", "operator/requirements.lock", "tests/standin/requirements.lock"]
)
def test_every_locked_package_has_its_hashes(lock: str) -> None:
    entries = (REPOSITORY / lock).read_text().replace("\\\n", " ").splitlines()
    assert entries
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
