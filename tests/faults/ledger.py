"""What the API server's own log says of a namespace: how much was written about a session, and which pods it had."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from e2e.api import Json
from e2e.audit import AuditLog, is_ours
from e2e.operator_pod import USER_NAME

Span = tuple[str, str]
"""From, to; as in logs."""
GATEWAY_USER = f"{USER_NAME}-gateway"
_TIME = "stageTimestamp"


@dataclass
class Ledger:
    """The audit log of a namespace, read piece by piece; without one it is empty, and `known` is false."""

    log: AuditLog | None
    namespace: str
    entries: list[Json] = field(default_factory=list)
    _mark: int = 0

    def __post_init__(self) -> None:
        """Begin where the log ends now."""
        self._mark = self.log.mark() if self.log else 0

    @property
    def known(self) -> bool:
        """Return whether there is a log."""
        return self.log is not None

    def read(self) -> list[Json]:
        """Return what is new, in order of its ends."""
        if self.log is None:
            return []
        found, self._mark = self.log.read(self._mark, self.namespace)
        new = sorted((one for one in found if _about(one).get("namespace") == self.namespace), key=_time)
        self.entries += new
        return new


def writes(entries: Iterable[Json], session: str) -> int:
    """Return how often operator and gateways wrote about a session, its children and events; refused writes count."""
    names = (_about(entry).get("name", "") for entry in entries if is_ours(entry) or _is_gateway(entry))
    return sum(name == session or name.startswith((f"{session}-", f"{session}.")) for name in names)


def at_once(entries: Sequence[Json], session: str, dawns: Sequence[Span] = ()) -> list[str]:
    """Return which pods of a session were made before the last was removed.

    An API server that is killed may not have written down what it did last: what was made near a dawn is left out.
    """
    attempt = re.compile(re.escape(session) + "-[0-9a-f]{8}-[0-9]+")
    pods = [one for one in entries if _is_pod(one) and attempt.fullmatch(_about(one).get("name", ""))]
    born = {_about(one)["name"]: _time(one) for one in pods if one["verb"] == "create" and _was_done(one)}
    # A pod's node is the last to delete it; where it does not, the pod was gone at once, as without grace.
    ends = sorted((one for one in pods if one["verb"] == "delete" and _was_done(one)), key=_is_node)
    gone = {_about(one)["name"]: _time(one) for one in ends}
    lives = sorted((time, name) for name, time in born.items())
    return [
        f"pod {name} was made before {before} was removed"
        for (since, before), (time, name) in pairwise(lives)
        if not gone.get(before, "~") <= time and not any(since <= end and start <= time for start, end in dawns)
    ]


def _is_gateway(entry: Json) -> bool:
    return bool(entry["user"]["username"] == GATEWAY_USER)


def _is_node(entry: Json) -> bool:
    return bool(entry["user"]["username"].startswith("system:node:"))


def _is_pod(entry: Json) -> bool:
    about = _about(entry)
    return about.get("resource") == "pods" and not about.get("subresource")


def _was_done(entry: Json) -> bool:
    return bool(entry["responseStatus"].get("code", 0) < 300)


def _about(entry: Json) -> Json:
    found: Json = entry.get("objectRef", {})
    return found


def _time(entry: Json) -> str:
    return str(entry[_TIME])
