"""The pod's volumes: the attempt's files read-only, and four writable places on bounded disk."""

from agentsessions.api.base import Json
from agentsessions.api.session import AgentSession
from agentsessions.builders.contract import (
    HOME_DIR,
    PROMPT_FILE,
    SESSION_DIR,
    SESSION_FILE,
    STATE_DIR,
    TMP_DIR,
    WORKSPACE_DIR,
)
from agentsessions.builders.volumeclaim import claim_name
from agentsessions.policies.resolve import Settings

_READ_ONLY_MODE = 0o440


def volumes(session: AgentSession, settings: Settings, secret: str) -> list[Json]:
    """Return the pod's volumes."""
    out = [_session_volume(session, secret), local_volume("home", settings), local_volume("tmp", settings)]
    if settings.storage is None:
        return [*out, local_volume("workspace", settings), local_volume("state", settings)]
    return [*out, {"name": "data", "persistentVolumeClaim": {"claimName": claim_name(session)}}]


def mounts(settings: Settings) -> list[Json]:
    """Return where the container sees them."""
    out: list[Json] = [
        {"name": "session", "mountPath": SESSION_DIR, "readOnly": True},
        {"name": "home", "mountPath": HOME_DIR},
        {"name": "tmp", "mountPath": TMP_DIR},
    ]
    if settings.storage is None:
        return [*out, {"name": "workspace", "mountPath": WORKSPACE_DIR}, {"name": "state", "mountPath": STATE_DIR}]
    return [
        *out,
        {"name": "data", "mountPath": WORKSPACE_DIR, "subPath": "workspace"},
        {"name": "data", "mountPath": STATE_DIR, "subPath": "state"},
    ]


def local_volume(name: str, settings: Settings) -> Json:
    """Return a local directory; none may be larger than all of the pod's disk."""
    resources = settings.fields.resources
    limit = resources.ephemeral_storage if resources else None
    return {"name": name, "emptyDir": {"sizeLimit": limit} if limit else {}}


def _session_volume(session: AgentSession, secret: str) -> Json:
    """Return the attempt's files; a prompt from the user's own Secret is put beside the options by the node."""
    own = [{"key": SESSION_FILE, "path": SESSION_FILE}]
    reference = session.spec.prompt_secret_ref
    if reference is None:
        own.append({"key": PROMPT_FILE, "path": PROMPT_FILE})
    sources: list[Json] = [{"secret": {"name": secret, "items": own}}]
    if reference is not None:
        items = [{"key": reference.key, "path": PROMPT_FILE}]
        sources.append({"secret": {"name": reference.name, "items": items}})
    return {"name": "session", "projected": {"defaultMode": _READ_ONLY_MODE, "sources": sources}}
