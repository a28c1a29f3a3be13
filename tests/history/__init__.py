"""Objects as earlier versions of the project stored them; see README.md beside this."""

import json
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
_HERE = Path(__file__).parent


def stored() -> list[Json]:
    """Return sessions with what there was of them: `object`, and `pods`."""
    return [json.loads(line) for file in sorted(_HERE.glob("*.jsonl")) for line in file.read_text().splitlines()]


def hashes() -> list[Json]:
    """Return settings as a session has them, `spec` and maybe `template`, and their `hash`."""
    return [json.loads(line) for line in (_HERE / "settings.hashes").read_text().splitlines()]


def crds() -> list[Json]:
    """Return the first CRD of each kind."""
    return list(yaml.safe_load_all((_HERE / "crds.yaml").read_text()))


def examples() -> list[Json]:
    """Return the first examples."""
    return list(yaml.safe_load_all((_HERE / "examples.yaml").read_text()))


def told(session: Json) -> str:
    """Return the reason of a session's Ready condition."""
    conditions = session["status"]["conditions"]
    return next(str(one["reason"]) for one in conditions if one["type"] == "Ready")
