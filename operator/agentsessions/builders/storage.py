"""What a pod needs to reach session store and archive: settings, credentials that the node mounts, and a way there."""

from agentsessions.api.base import Json
from agentsessions.api.config import EmbeddedStore
from agentsessions.api.host import ArchiveSettings, StoreSettings
from agentsessions.api.storage import EgressPeer, SessionStore, WorkspaceArchive
from agentsessions.builders.contract import ARCHIVE_DIR, STORE_DIR
from agentsessions.policies.quantity import to_bytes
from agentsessions.policies.resolve import Settings

EMBEDDED_FILE = "store-url"
"""Key of the pod's own Secret that has the URL of the chart's store; session stores of others come from theirs."""

_READ_ONLY_MODE = 0o440


def store_settings(settings: Settings, namespace: str) -> StoreSettings | None:
    """Return the store as a host opens it; nothing of another namespace is under its prefix."""
    store = settings.fields.session_store
    if store is None:
        return None
    return StoreSettings(
        type=store.type, prefix=f"{store.prefix}/{namespace}", secrets=STORE_DIR, s3=store.s3, custom=store.custom
    )


def archive_settings(settings: Settings, namespace: str) -> ArchiveSettings | None:
    """Return the archive as a host opens it."""
    archive = _archive(settings)
    if archive is None:
        return None
    return ArchiveSettings(
        s3=archive.s3,
        prefix=f"{archive.prefix}/{namespace}",
        secrets=ARCHIVE_DIR,
        max_bytes=to_bytes(archive.max_size),
    )


def storage_volumes(settings: Settings, secret: str) -> list[Json]:
    """Return the volumes with credentials; `secret` is the pod's own Secret."""
    store, archive = settings.fields.session_store, _archive(settings)
    out: list[Json] = []
    if store is not None and store.type == "Embedded":
        out.append(_volume("store", secret, [{"key": EMBEDDED_FILE, "path": "url"}]))
    elif store is not None and store.secret_ref is not None:
        out.append(_volume("store", store.secret_ref.name))
    if archive is not None and archive.secret_ref is not None:
        out.append(_volume("archive", archive.secret_ref.name))
    return out


def storage_mounts(settings: Settings) -> list[Json]:
    """Return where the container sees them."""
    places = {"store": STORE_DIR, "archive": ARCHIVE_DIR}
    names = [volume["name"] for volume in storage_volumes(settings, "")]
    return [{"name": name, "mountPath": places[name], "readOnly": True} for name in names]


def storage_peers(settings: Settings, embedded: EmbeddedStore) -> list[EgressPeer]:
    """Return what the NetworkPolicy has to let through."""
    store, archive = settings.fields.session_store, _archive(settings)
    peers = [*(store.egress or [])] if store is not None else []
    if store is not None and store.type == "Embedded":
        peers.append(EgressPeer(namespace=embedded.namespace, pod_labels=embedded.pod_labels, port=embedded.port))
    return peers + (list(archive.egress or []) if archive is not None else [])


def store_problem(store: SessionStore | None, embedded: EmbeddedStore) -> str:
    """Return why a Hybrid session cannot be kept, in a sentence that names what to set; empty if it can."""
    if store is None:
        return "A Hybrid session needs a session store: set `sessionStore` in the session or its AgentTemplate."
    if store.type == "Embedded" and not embedded.enabled:
        return (
            "`sessionStore.type: Embedded` needs the chart value `embeddedStore.enabled: true`, or choose another type."
        )
    if store.type == "Embedded" and not embedded.url:
        return "The password of the embedded store is not mounted into the operator yet: this takes up to a minute."
    return ""


def workspace_problem(settings: Settings) -> str:
    """Return why the workspace cannot be kept as asked, when template and session together ask for both ways."""
    both = settings.storage is not None and _archive(settings) is not None
    return "`workspace` must not have both `storage` and `archive`, here and in the template together." if both else ""


def _archive(settings: Settings) -> WorkspaceArchive | None:
    return settings.fields.workspace.archive if settings.fields.workspace else None


def _volume(name: str, secret: str, items: list[Json] | None = None) -> Json:
    source: Json = {"secretName": secret, "defaultMode": _READ_ONLY_MODE}
    return {"name": name, "secret": source | ({"items": items} if items else {})}
