"""What a host is told by its pod: environment and host.json. Reads both and says clearly what is wrong with them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from agentrunner.errors import InvalidInput
from agentrunner.places import state_dir
from agentsessions.api.host import PORT, PROVES_CLI, HostDocument

HOST_FILE = "host.json"
DEFAULT_GRACE_SECONDS = 30.0
MAX_MESSAGE_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class HostSettings:
    """Who this host is, whom it trusts, where things are."""

    pod_uid: str
    public_keys: str
    state: Path
    workspace: Path
    tmp: Path
    home: Path
    port: int
    grace_seconds: float
    document: HostDocument
    proves_cli: bool = False


def host_settings(own: Mapping[str, str], workspace: Path) -> HostSettings:
    """Return the settings; raise InvalidInput for what is missing or wrong."""
    return HostSettings(
        pod_uid=_required(own, "AGENTSESSIONS_POD_UID"),
        public_keys=_required(own, "AGENTSESSIONS_PUBLIC_KEYS"),
        state=state_dir(own),
        workspace=workspace,
        tmp=Path(own.get("TMPDIR", "/tmp")),
        home=Path(own.get("HOME", "/home/agent")),
        port=int(own.get("AGENTSESSIONS_PORT", PORT)),
        grace_seconds=float(own.get("AGENTSESSIONS_GRACE_SECONDS", DEFAULT_GRACE_SECONDS)),
        proves_cli=bool(own.get(PROVES_CLI)),
        document=read_document(Path(own.get("AGENTSESSIONS_SESSION_DIR", "/var/run/agentsessions/session"))),
    )


def read_document(directory: Path) -> HostDocument:
    """Return host.json; raise InvalidInput with the field that is wrong."""
    path = directory / HOST_FILE
    try:
        return HostDocument.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise InvalidInput(f"'{path}' cannot be read ({error.strerror}): mount the host's files there") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "document"
        raise InvalidInput(f"`{field}` in {HOST_FILE} is wrong: {first['msg']}") from None
    except ValueError as error:
        raise InvalidInput(f"{HOST_FILE} must be JSON: {error}") from None


def _required(own: Mapping[str, str], name: str) -> str:
    value = own.get(name, "")
    if not value:
        raise InvalidInput(f"{name} is not set: the operator sets it on the hosts that it makes")
    return value
