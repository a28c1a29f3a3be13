"""Small JSON files of a session: replaced whole, so that a crash leaves the old one or the new one."""

import json
import os
from pathlib import Path
from typing import Any


def save(path: Path, document: dict[str, Any]) -> None:
    """Replace a file; when this returns the new one is on disk."""
    scratch = path.with_name(f".{path.name}.new")
    with scratch.open("wb") as file:
        file.write(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def load(path: Path) -> dict[str, Any] | None:
    """Return a file's object; None when it is missing or no object."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None
