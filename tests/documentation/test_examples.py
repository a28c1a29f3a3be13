"""The examples, held against the models; the API server itself judges them in tests/e2e."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from agentsessions.api.pool import AgentPoolSpec
from agentsessions.api.session import AgentSessionSpec
from agentsessions.api.template import AgentTemplateSpec
from documentation.trace import ROOT

FILES = sorted((ROOT / "examples").glob("*.yaml"))
MODELS: dict[str, type[BaseModel]] = {
    "AgentPool": AgentPoolSpec,
    "AgentSession": AgentSessionSpec,
    "AgentTemplate": AgentTemplateSpec,
}


def manifests(path: Path) -> list[dict[str, Any]]:
    """Return the manifests of an example that are of our kinds."""
    return [item for item in yaml.safe_load_all(path.read_text()) if item["kind"] in MODELS]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_models_know_every_field(path: Path) -> None:
    assert manifests(path)
    for manifest in manifests(path):
        spec = MODELS[manifest["kind"]].model_validate(manifest["spec"])
        assert spec.model_dump(mode="json", by_alias=True, exclude_unset=True) == manifest["spec"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_begins_with_what_it_is_for(path: Path) -> None:
    assert path.read_text().startswith("# ")


def test_the_readme_explains_the_smallest_one_word_for_word() -> None:
    lines = (ROOT / "examples" / "session.yaml").read_text().splitlines()
    readme = (ROOT / "README.md").read_text()
    for line in lines:
        assert line.startswith("#") or line in readme
