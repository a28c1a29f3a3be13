"""What can go wrong with a call to a host, by the slug of its problem or, where there is none, by its status.

HostError
├── HostFull            507: it holds as many sessions as it may
├── Draining            503: it stops soon, or is not up yet
├── TranscriptMissing   409: it lacks the conversation so far, or a part of it
├── StorageTrouble      503, 409: store or archive cannot be used
├── Fenced              409: the session store knows a later claim on the session than this handover's
├── Busy                409: the session is not idle
├── Misdirected         421: the address belongs to another pod by now
├── Unreachable         no answer, or one that no host gives
└── Refused             any other 4xx: it will not have the request
"""

from agentsessions.api.base import Json
from agentsessions.api.host import PROBLEM_PREFIX


class HostError(Exception):
    """A call to a host that failed; `status` is 0 if there was no answer."""

    def __init__(self, status: int, slug: str, detail: str) -> None:
        super().__init__(f"{status} {slug}: {detail}")
        self.status = status
        self.slug = slug
        self.detail = detail


class HostFull(HostError):
    """The host holds as many sessions as it may."""


class Draining(HostError):
    """The host takes no sessions now: it stops soon, or is not up yet."""


class TranscriptMissing(HostError):
    """The host lacks the conversation so far, and was told not to go on without it."""


class StorageTrouble(HostError):
    """Session store or archive cannot be used, or lacks what is asked of it."""


class Fenced(HostError):
    """The session store knows a later claim, number `epoch`."""

    epoch = 0


class Busy(HostError):
    """The session has something to do."""


class Misdirected(HostError):
    """Another pod has the address by now."""


class Unreachable(HostError):
    """There is no answer from a host at that address."""


class Refused(HostError):
    """The host will not have the request; the same one will be refused again."""


_BY_SLUG: dict[str, type[HostError]] = {
    "host-full": HostFull,
    "draining": Draining,
    "transcript-missing": TranscriptMissing,
    "transcript-truncated": TranscriptMissing,
    "transcript-diverged": TranscriptMissing,
    "store-unreachable": StorageTrouble,
    "store-refused": StorageTrouble,
    "archive-failed": StorageTrouble,
    "fork-source-missing": StorageTrouble,
    "session-busy": Busy,
    "session-fenced": Fenced,
}
_BY_STATUS: dict[int, type[HostError]] = {507: HostFull, 503: Draining, 421: Misdirected}


def error_for(status: int, body: Json) -> HostError:
    """Return the error of an answer; `body` is its problem document, empty if it has none."""
    slug = str(body.get("type", "")).removeprefix(PROBLEM_PREFIX)
    kind = _BY_SLUG.get(slug) or _BY_STATUS.get(status)
    if kind is None:
        kind = Refused if 400 <= status < 500 else Unreachable
    error = kind(status, slug or "no-problem", str(body.get("detail", "no detail"))[:300])
    if isinstance(error, Fenced) and isinstance(body.get("epoch"), int):
        error.epoch = body["epoch"]
    return error
