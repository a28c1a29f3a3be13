"""What the API server itself says about requests: its metrics everywhere, its audit log where it can be read."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from e2e.api import Api, Json
from e2e.operator_pod import USER_NAME, parse_metrics

_REQUESTS = "apiserver_request_total"
WRITES = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
Key = tuple[str, str, str, str]
"""Group, resource, subresource, verb."""


def request_totals(api: Api) -> Counter[Key]:
    """Return how many writes the API server has answered so far, whatever the answer was."""
    out: Counter[Key] = Counter()
    for sample in parse_metrics(api.text("/metrics")):
        labels = sample.labels
        if sample.name == _REQUESTS and labels["verb"] in WRITES:
            out[labels["group"], labels["resource"], labels["subresource"], labels["verb"]] += int(sample.value)
    return out


@dataclass(slots=True)
class AuditLog:
    """The API server's audit log of writes, read from `mark` on."""

    path: Path

    def mark(self) -> int:
        """Return the place where the log ends now."""
        return self.path.stat().st_size

    def since(self, mark: int, namespace: str | None = None) -> list[Json]:
        """Return the operator's writes after `mark`, refused ones included."""
        entries, _ = self.read(mark, USER_NAME)
        return [entry for entry in entries if is_ours(entry) and _is_in(entry, namespace)]

    def read(self, mark: int, word: str) -> tuple[list[Json], int]:
        """Return everybody's writes after `mark` in which a word stands, and the mark to read on from."""
        with self.path.open("rb") as log:
            log.seek(mark)
            lines = [line for line in log if line.endswith(b"\n")]
        # Most of a large log is about something else, and need not be understood.
        return [json.loads(line) for line in lines if word.encode() in line], mark + sum(map(len, lines))


def is_ours(entry: Json) -> bool:
    """Return whether the operator made the request."""
    return bool(entry["user"]["username"] == USER_NAME)


def _is_in(entry: Json, namespace: str | None) -> bool:
    """Return whether the request was about that namespace; None means any."""
    return namespace is None or entry.get("objectRef", {}).get("namespace") == namespace


def describe(entry: Json) -> str:
    """Return one write in a few words."""
    about = entry.get("objectRef", {})
    resource = "/".join(filter(None, (about.get("resource"), about.get("subresource"))))
    return f"{entry['verb']} {resource} {entry['responseStatus']['code']}"


def denied(entries: list[Json]) -> list[Json]:
    """Return the writes that RBAC forbade; a quota or an ending namespace refuses with 403 too, but is no denial."""
    return [e for e in entries if e.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"]
