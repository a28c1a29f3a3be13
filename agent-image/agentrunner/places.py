"""Where things are in the container, and whether the agent can work there."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agentrunner.errors import InvalidInput
from agentrunner.terminationlog import DEFAULT_PATH


@dataclass(frozen=True, slots=True)
class Places:
    """The directories and the file that the image contract names."""

    session: Path
    state: Path
    workspace: Path
    termination: Path


def places(environment: Mapping[str, str], cwd: Path) -> Places:
    """Return the places that the environment names, or those of the contract."""
    return Places(
        session=Path(environment.get("AGENTSESSIONS_SESSION_DIR", "/var/run/agentsessions/session")),
        state=state_dir(environment),
        workspace=cwd,
        termination=Path(environment.get("AGENTSESSIONS_TERMINATION_LOG", str(DEFAULT_PATH))),
    )


def state_dir(environment: Mapping[str, str]) -> Path:
    """Return where a task or a host keeps its state."""
    return Path(environment.get("AGENTSESSIONS_STATE_DIR", "/state"))


def require_writable(environment: Mapping[str, str]) -> None:
    """Raise InvalidInput unless the CLI can keep its transcript and its temporary files.

    Without its directory for transcripts the CLI runs all the same, silently, and nothing could be resumed.
    """
    for variable in ("CLAUDE_CONFIG_DIR", "TMPDIR"):
        directory = Path(environment.get(variable, "/tmp"))
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                pass
        except OSError as error:
            raise InvalidInput(
                f"{variable} is '{directory}', which cannot be written ({error.strerror}): "
                "mount a writable volume there"
            ) from None


def write_private(text: str) -> Path:
    """Return a new file that only the agent's user can read, holding `text`."""
    descriptor, name = tempfile.mkstemp(prefix="agentrunner-")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return Path(name)
