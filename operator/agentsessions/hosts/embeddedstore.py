"""The password of the chart's own session store: made once, kept in a Secret, read from the file that the node mounts.

The operator hands it to agent pods in the Secrets that it makes for them; by the API it can make it, and never read it.
"""

import base64
from pathlib import Path
from secrets import token_urlsafe
from urllib.parse import quote

from agentsessions import logs
from agentsessions.api.config import EmbeddedStore, OperatorConfig
from agentsessions.api.names import common_labels
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import AlreadyExists
from agentsessions.kube.paths import SECRETS

_PASSWORD_BYTES = 32


async def ensure_password(kube: Kube, store: EmbeddedStore) -> None:
    """Make the Secret with the password if it is missing, and if it is ours to make. Raises KubeError."""
    if not (store.enabled and store.make_secret):
        return
    password = base64.b64encode(token_urlsafe(_PASSWORD_BYTES).encode()).decode()
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": store.secret_name,
            "namespace": store.namespace,
            "labels": common_labels("embedded-store"),
        },
        "type": "Opaque",
        "data": {"password": password},
    }
    try:
        await kube.create(SECRETS, manifest)
    except AlreadyExists:
        return
    logs.info("password of the embedded store made", secret=store.secret_name)


def with_store_url(config: OperatorConfig) -> OperatorConfig:
    """Return the configuration with the store's URL, as soon as the node has mounted its password."""
    store = config.embedded_store
    if not store.enabled or store.url:
        return config
    try:
        password = Path(store.password_file).read_text().strip()
    except OSError:
        return config
    url = f"redis://:{quote(password, safe='')}@{store.host}:{store.port}/0"
    return config.model_copy(update={"embedded_store": store.model_copy(update={"url": url})})
