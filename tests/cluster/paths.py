"""Where the cluster keeps its files. Nothing is ever written into the checkout."""

import os
from pathlib import Path

TOOLS = Path(__file__).parent / "tools"


def cache_dir() -> Path:
    """Built binaries and images: safe to delete, slow to make again."""
    return _base("XDG_CACHE_HOME", ".cache")


def state_dir() -> Path:
    """Everything of the running local cluster; `down` removes it."""
    return _base("XDG_STATE_HOME", ".local/state") / "cluster"


def _base(variable: str, default: str) -> Path:
    root = os.environ.get(variable) or str(Path.home() / default)
    return Path(root).absolute() / "agentsessions"
