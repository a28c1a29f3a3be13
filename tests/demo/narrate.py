"""Turns what the cluster and the agent's log say into one short line each; pure. None means: not worth a line."""

import json
from typing import Any

from demo.programs import Json

_WIDTH = 150


def session_line(session: Json) -> str:
    """Return where the session stands, in the words of its conditions."""
    status = session.get("status", {})
    ready = condition(session, "Ready")
    if not ready:
        return "accepted by the API server"
    turned = [c["type"] for c in status["conditions"] if c["status"] == "True"]
    return short(f"{ready['reason']} [{', '.join(turned) or 'nothing'} True]  {ready.get('message', '')}")


def pod_line(pod: Json) -> str:
    """Return the pod's phase, and what its container waits for."""
    status = pod.get("status", {})
    node = pod.get("spec", {}).get("nodeName")
    states = [item.get("state", {}) for item in status.get("containerStatuses", [])]
    waiting = [state["waiting"].get("reason", "") for state in states if "waiting" in state]
    words = [pod["metadata"]["name"], status.get("phase", "Pending")]
    if waiting:
        words.append(f"({waiting[0]})")
    if node:
        words.append(f"on {node}")
    if "deletionTimestamp" in pod["metadata"]:
        words.append("is being deleted")
    return short(" ".join(words))


def log_line(line: str) -> str | None:
    """Return one line of the agent's log in words."""
    try:
        event = json.loads(line)
    except ValueError:
        return short(line.strip()) or None
    return _event(event) if isinstance(event, dict) else short(line.strip())


def is_tool_answer(line: str) -> bool:
    """Return whether the line of the agent's log tells of a tool call that worked."""
    try:
        event = json.loads(line)
    except ValueError:
        return False
    return isinstance(event, dict) and event.get("event") == "toolResult" and not event.get("isError")


def condition(session: Json, kind: str) -> Json:
    """Return the condition of that type, empty if it is not set."""
    found = (c for c in session.get("status", {}).get("conditions", []) if c["type"] == kind)
    return next(found, {})


def short(text: str, width: int = _WIDTH) -> str:
    """Return the text on one line of bounded length."""
    flat = " ".join(text.split())
    return flat if len(flat) <= width else f"{flat[: width - 1]}…"


def _event(event: dict[str, Any]) -> str | None:
    """Return one event of the agent image's log in words."""
    name = event.get("event", "")
    match name:
        case "cliStarted":
            return f"claude CLI {event.get('cliVersion', '')} started: {event.get('model')}, {event.get('tools')} tools"
        case "text":
            return short(f"says: {event.get('text', '(not shown)')}")
        case "toolUse":
            return short(f"calls {event.get('tool')}: {event.get('input', '(not shown)')}")
        case "toolResult":
            return f"got the tool's answer, {event.get('size')} characters" + (
                " (an error)" if event.get("isError") else ""
            )
        case "turnEnded":
            return f"is done: {event.get('turns')} turns in {(event.get('durationMs') or 0) / 1000:.1f} s"
        case "attemptStarted" | "thinking" | "attemptEnded":
            return None
    rest = {key: value for key, value in event.items() if key not in ("time", "event", "sessionId", "attempt")}
    return short(f"{name} {json.dumps(rest)}")
