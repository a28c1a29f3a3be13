"""The CRD chart installs exactly what the operator's models generate."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart import helm

KEEP = "helm.sh/resource-policy"


def rendered(values: dict[str, Any] | None = None) -> dict[str, helm.Manifest]:
    """Return the CRDs of the operator chart by name."""
    return {crd["metadata"]["name"]: crd for crd in helm.of_kind(helm.template(values), "CustomResourceDefinition")}


def test_the_chart_carries_byte_for_byte_what_make_crds_wrote() -> None:
    generated = {file.name: file.read_bytes() for file in (helm.ROOT / "crds").glob("*.yaml")}
    carried = {file.name: file.read_bytes() for file in (helm.CRD_CHART / "files").glob("*.yaml")}
    assert carried == generated, "run `make crds`"


def test_rendering_changes_nothing_but_labels_and_annotations() -> None:
    generated = [yaml.safe_load(file.read_text()) for file in (helm.CRD_CHART / "files").glob("*.yaml")]
    assert {name: crd["spec"] for name, crd in rendered().items()} == {
        crd["metadata"]["name"]: crd["spec"] for crd in generated
    }


def test_they_outlive_the_release_by_default() -> None:
    assert {crd["metadata"]["annotations"][KEEP] for crd in rendered().values()} == {"keep"}


def test_they_go_with_the_release_by_choice() -> None:
    for crd in rendered({"crds": {"keep": False}}).values():
        assert KEEP not in crd["metadata"].get("annotations", {})


def test_annotations_and_labels_of_the_values_are_added() -> None:
    values = {"crds": {"annotations": {"team": "platform"}, "commonLabels": {"cost": "42"}}}
    for crd in rendered(values).values():
        assert crd["metadata"]["annotations"] == {"team": "platform", KEEP: "keep"}
        assert crd["metadata"]["labels"]["cost"] == "42"


def test_they_can_be_left_out() -> None:
    assert rendered({"crds": {"enabled": False}}) == {}


def test_a_chart_without_definitions_says_how_to_make_them(tmp_path: Path) -> None:
    shutil.copytree(helm.CRD_CHART, tmp_path / "crds", ignore=shutil.ignore_patterns("files"))
    with pytest.raises(helm.HelmError, match="run `make crds`"):
        helm.template(chart=tmp_path / "crds")
