"""Running Helm on the project's charts and reading what it renders; knows no cluster."""

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import cluster

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "agentsessions"
CRD_CHART = ROOT / "charts" / "agentsessions-crds"
RELEASE = "release"
NAMESPACE = "agentsessions-system"

Manifest = dict[str, Any]


class HelmError(Exception):
    """Helm refused; the text is what it said."""


@cache
def program() -> str:
    """The Helm to use: the one that HELM names, else the pinned one."""
    return os.environ.get("HELM") or str(cluster.binary("helm"))


def run(*arguments: str, stdin: str = "") -> str:
    """Run Helm and return what it printed; raise `HelmError` where it fails."""
    done = subprocess.run([program(), *arguments], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HelmError(f"{done.stdout}{done.stderr}")
    return done.stdout


def template(
    values: Mapping[str, Any] | None = None, *, apis: Sequence[str] = (), chart: Path = CHART
) -> list[Manifest]:
    """Return the manifests that the chart renders to with `values` over its own."""
    capabilities = [argument for api in apis for argument in ("--api-versions", api)]
    command = ("template", RELEASE, str(chart), "--namespace", NAMESPACE, "--values", "-", *capabilities)
    text = run(*command, stdin=yaml.safe_dump(dict(values or {})))
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def of_kind(manifests: Iterable[Manifest], kind: str) -> list[Manifest]:
    """Return the manifests of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def named(manifests: Iterable[Manifest], kind: str, name: str) -> Manifest:
    """Return the one manifest of this kind and name."""
    (found,) = [m for m in of_kind(manifests, kind) if m["metadata"]["name"] == name]
    return found


def with_egress(**values: Any) -> dict[str, Any]:
    """Return values that switch the egress proxy on, with `values` under `egress`."""
    return {"egress": {"enabled": True, "credential": {"secretRef": {"name": "model-key"}}} | values}
