"""What is printed when a test fails: sessions, pods, events, and what the operator said."""

from contextlib import suppress

import yaml

from e2e.api import EVENTS, PODS, SESSIONS, Api, ApiError, Json
from e2e.operator_pod import Operator

_LOG_LINES = 60


def diagnose(api: Api, operator: Operator, namespace: str) -> str:
    """Return the state of a namespace for the test report."""
    parts = [f"--- namespace {namespace}"]
    with suppress(ApiError):
        parts += [_block("session", thing) for thing in api.list(SESSIONS, namespace)]
        parts += [_pod(api, pod) for pod in api.list(PODS, namespace)]
        parts += ["--- events", *(_event(event) for event in api.list(EVENTS, namespace))]
    with suppress(ApiError, AssertionError):
        said = [line for line in operator.log().splitlines() if "session changed" not in line or namespace in line]
        parts += ["--- operator log", *said[-_LOG_LINES:]]
    return "\n".join(parts)


def _block(what: str, thing: Json) -> str:
    """Return an object without what only machines read."""
    thing["metadata"].pop("managedFields", None)
    return f"--- {what}\n{yaml.safe_dump(thing, sort_keys=False, width=160)}"


def _pod(api: Api, pod: Json) -> str:
    """Return a pod's status and the end of its log."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    log = ""
    with suppress(ApiError):
        log = api.text(PODS.path(namespace, f"{name}/log"), tailLines="20")
    return f"{_block('pod', {'metadata': {'name': name}, 'status': pod.get('status', {})})}\n{log}"


def _event(event: Json) -> str:
    """Return an event in a line."""
    about = event.get("regarding", {})
    return f"{event.get('type')} {about.get('kind')}/{about.get('name')} {event.get('reason')}: {event.get('note')}"
