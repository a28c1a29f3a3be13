"""Where a host keeps the files of its sessions. Loads next to nothing: it is asked before anything else is there."""

from collections.abc import Mapping
from pathlib import Path

from agentrunner.places import state_dir


def sessions_root(state: Path) -> Path:
    """Return the folder of all sessions' files; it need not be there."""
    return state / "sessions"


def holds_sessions(own: Mapping[str, str]) -> bool:
    """Return whether an earlier process of this host may have left sessions, with words that are not stored yet."""
    try:
        return any(sessions_root(state_dir(own)).iterdir())
    except FileNotFoundError:
        return False
    except OSError:  # what is wrong with it is told once there is something that can tell
        return True
