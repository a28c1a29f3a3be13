"""Where one session of a host has its files: nothing is shared with its neighbours."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from agentrunner.serving.disk import sessions_root
from agentrunner.serving.settings import HostSettings

_SHORT = 8


@dataclass(frozen=True, slots=True)
class SessionPlaces:
    """Directories of one session. The working directory is the same on every host: transcripts are found by it."""

    own: Path
    config: Path
    workspace: Path
    tmp: Path
    home: Path

    def make(self) -> None:
        """Make what is missing."""
        for directory in (self.own, self.config, self.workspace, self.tmp, self.home):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def remove(self) -> None:
        """Remove all of it."""
        for directory in (self.own, self.workspace, self.tmp, self.home):
            shutil.rmtree(directory, ignore_errors=True)


def session_places(host: HostSettings, session_id: str) -> SessionPlaces:
    """Return where a session has its files on this host."""
    own = sessions_root(host.state) / session_id
    return SessionPlaces(
        own=own,
        config=own / "claude",
        workspace=host.workspace / session_id,
        tmp=host.tmp / session_id[:_SHORT],  # short: sockets are made in it, and their paths are limited
        home=host.home / session_id,
    )
