"""What every session host has, one of a pool or a session's own: its container, its files, its volumes."""

import base64
import json

from agentsessions.api.base import Json
from agentsessions.api.config import OperatorConfig
from agentsessions.api.host import PORT, PROVES_CLI, START_SECONDS, HostDocument
from agentsessions.api.names import CONTAINER
from agentsessions.builders.contract import SESSION_DIR, STATE_DIR
from agentsessions.builders.disruption import told_late
from agentsessions.builders.environment import cli_variables, grace_seconds, pod_variables, template_variables
from agentsessions.builders.pod import container_isolation
from agentsessions.builders.resources import resource_requirements
from agentsessions.builders.storage import EMBEDDED_FILE, storage_mounts, storage_volumes
from agentsessions.builders.volumes import local_volume, mounts
from agentsessions.policies.resolve import Settings

HOST_FILE = "host.json"


def host_files(document: HostDocument, settings: Settings, config: OperatorConfig) -> dict[str, str]:
    """Return the data of a host's Secret, in base64."""
    files = {HOST_FILE: json.dumps(document.to_json(), sort_keys=True)}
    store = settings.fields.session_store
    if store is not None and store.type == "Embedded":
        files[EMBEDDED_FILE] = config.embedded_store.url
    return {name: base64.b64encode(text.encode()).decode() for name, text in files.items()}


def host_container(settings: Settings, config: OperatorConfig, *, memory: str | None, grace: int, proves: bool) -> Json:
    """Return the host's container; `memory` is set where it does not follow from `resources`.

    One that `proves` starts its CLI once before it is ready.
    """
    fields = settings.fields
    resources = resource_requirements(fields.resources)
    for kind in ("limits", "requests") if memory else ():
        resources[kind]["memory"] = memory
    return {
        "name": CONTAINER,
        "image": fields.image,
        "imagePullPolicy": fields.image_pull_policy,
        "args": ["serve"],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "env": _environment(settings, config, grace, proves=proves),
        "resources": resources,
        "volumeMounts": [*mounts(settings), *storage_mounts(settings)],
        # One that does not start has no turn that could end.
        "startupProbe": _probe("/ready", failures=START_SECONDS, seconds=1) | {"terminationGracePeriodSeconds": 30},
        "readinessProbe": _probe("/ready", failures=1, seconds=5),
        "livenessProbe": _probe("/health", failures=6, seconds=10),
        "securityContext": container_isolation(),
        **told_late(grace),
    }


def host_volumes(settings: Settings, secret: str) -> list[Json]:
    """Return the volumes; the claim, if there is one, is added by whoever has it."""
    items = [{"key": HOST_FILE, "path": HOST_FILE}]
    out: list[Json] = [{"name": "session", "secret": {"secretName": secret, "defaultMode": 0o440, "items": items}}]
    names = ["home", "tmp"] + (["workspace", "state"] if settings.storage is None else [])
    return out + [local_volume(name, settings) for name in names] + storage_volumes(settings, secret)


def _probe(path: str, *, failures: int, seconds: int) -> Json:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": seconds,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _environment(settings: Settings, config: OperatorConfig, grace: int, *, proves: bool) -> list[Json]:
    """Return the host's variables; the contract's cannot be overridden by the template."""
    fixed = {
        "AGENTSESSIONS_SESSION_DIR": SESSION_DIR,
        "AGENTSESSIONS_STATE_DIR": STATE_DIR,
        "AGENTSESSIONS_PUBLIC_KEYS": config.gateway.public_keys,
        "AGENTSESSIONS_GRACE_SECONDS": grace_seconds(settings, grace),
        **({PROVES_CLI: "true"} if proves else {}),
        **cli_variables(settings),
    }
    own = pod_variables()
    taken = fixed.keys() | {var["name"] for var in own}
    return [*template_variables(fixed, settings, taken), *own]
