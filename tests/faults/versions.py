"""An older operator beside the one of this checkout, as in the middle of a rolling upgrade, or of its rollback."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from e2e import older
from e2e.api import CONFIG_MAPS, DEPLOYMENTS, LEASES, PODS, Json
from e2e.leadership import holder, leader
from e2e.operator_pod import NAMESPACE, RELEASE, is_rolled_out
from e2e.waiting import wait_for
from faults.arena import Arena
from images.build import build_from

_STRIP = """
import json, sys
from pydantic import ValidationError
from agentsessions.api.config import OperatorConfig
config = json.load(sys.stdin)
try:
    OperatorConfig.model_validate(config)
except ValidationError as error:
    for one in error.errors():
        if one["type"] == "extra_forbidden":
            *way, last = one["loc"]
            place = config
            for step in way:
                place = place[step]
            del place[last]
OperatorConfig.model_validate(config)
json.dump(config, sys.stdout)
"""
"""Run with the older operator's own code: what it does not know of a configuration is what it refuses."""
_NAME = f"{RELEASE}-older"
_LABEL = "agentsessions.dev/older"


@contextmanager
def older_beside(arena: Arena) -> Iterator[None]:
    """Have one more operator, of an older commit, which takes part in the election."""
    if arena.provider.name == "existing":
        pytest.skip("an older operator can only be built into a cluster of one's own")
    api, operator = arena.api, arena.lab.operator
    release = api.get(DEPLOYMENTS, NAMESPACE, RELEASE)
    settings = api.get(CONFIG_MAPS, NAMESPACE, RELEASE)
    assert release is not None
    assert settings is not None
    with older.checkout(*older.sources(older.OPERATOR)) as root:
        arena.provider.load_images([build_from(root, older.OPERATOR)])
        api.apply(_settings(settings, root))
    api.apply(_deployment(release))
    try:
        wait_for(api, DEPLOYMENTS, NAMESPACE, _NAME, is_rolled_out, "the older operator's rollout")
        yield
    finally:
        try:
            operator.keep_evidence()
        finally:
            _remove(arena)


def _remove(arena: Arena) -> None:
    """Take the older operator down."""
    gone = [pod["metadata"]["name"] for pod in arena.lab.operator.pods() if _LABEL in pod["metadata"]["labels"]]
    arena.api.delete(DEPLOYMENTS, NAMESPACE, _NAME, propagationPolicy="Foreground")
    arena.api.delete(CONFIG_MAPS, NAMESPACE, _NAME)
    for name in gone:
        wait_for(arena.api, PODS, NAMESPACE, name, lambda pod: pod is None, "the end of the older operator")


def lead_passed_on(arena: Arena) -> float:
    """The version that leads is taken away until the other one leads, as a rollout does, or its rollback."""
    for name in (RELEASE, _NAME):
        wait_for(arena.api, DEPLOYMENTS, NAMESPACE, name, is_rolled_out, "both operators")
    before = _LABEL in leader(arena.api)["metadata"]["labels"]
    after = not before
    arena.lab.operator.keep_evidence()
    try:
        _scale(arena, before, 0)
        struck = time.monotonic()
        wait_for(arena.api, LEASES, NAMESPACE, RELEASE, lambda one: _is_older(arena, holder(one)) is after, "a lead")
    finally:
        _scale(arena, before, 1)
    return struck


def _is_older(arena: Arena, name: str) -> bool | None:
    """Return whether an operator's pod is an older one; None of one that is not there."""
    versions = {pod["metadata"]["name"]: _LABEL in pod["metadata"]["labels"] for pod in arena.lab.operator.pods()}
    return versions.get(name)


def _scale(arena: Arena, is_older: bool, replicas: int) -> None:
    arena.api.patch(DEPLOYMENTS, NAMESPACE, _NAME if is_older else RELEASE, {"spec": {"replicas": replicas}})


def _settings(release: Json, root: Path) -> Json:
    """Return the release's configuration without what the older operator does not know."""
    config = json.dumps(yaml.safe_load(release["data"]["config.yaml"]))
    place = os.environ | {"PYTHONPATH": str(root / "operator"), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-c", _STRIP]
    known = subprocess.run(words, input=config, capture_output=True, text=True, check=True, env=place).stdout
    data = {"config.yaml": yaml.safe_dump(json.loads(known))}
    meta = {"name": _NAME, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def _deployment(release: Json) -> Json:
    """Return the release's Deployment with the older image and that configuration."""
    labels = {**release["spec"]["selector"]["matchLabels"], _LABEL: "true"}
    pod = release["spec"]["template"]["spec"]
    pod["containers"][0]["image"] = older.OPERATOR.reference
    for volume in pod["volumes"]:
        if "configMap" in volume:
            volume["configMap"]["name"] = _NAME
    template = {"metadata": {"labels": {**release["spec"]["template"]["metadata"]["labels"], **labels}}, "spec": pod}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    meta = {"name": _NAME, "namespace": NAMESPACE}
    return {"apiVersion": DEPLOYMENTS.version, "kind": "Deployment", "metadata": meta, "spec": spec}
