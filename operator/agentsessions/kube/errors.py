"""Errors of the Kubernetes API, mapped from status codes in one place.

KubeError
├── NotFound          404: the object, its namespace or its kind is gone
├── AlreadyExists     409 on create: somebody was first
├── Conflict          409 elsewhere: what was read is out of date
├── Refused           400, 403, 413, 422: the API server will not have it, and says why
└── Transient         401, 408, 429, 5xx, or no answer: the same request may work later
"""

from http import HTTPStatus


class KubeError(Exception):
    """A request to the Kubernetes API that failed; `code` is the HTTP status, 0 if there was no answer."""

    def __init__(self, code: int, message: str, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.reason = reason
        self.retry_after = retry_after


class NotFound(KubeError):
    """The object, its namespace or its kind does not exist."""


class AlreadyExists(KubeError):
    """An object of that name exists."""


class Conflict(KubeError):
    """The object has changed since it was read, or is another one of the same name."""


class Refused(KubeError):
    """The API server refuses the request itself; the same one will be refused again."""


class Transient(KubeError):
    """The request may work later."""


_WEBHOOK = "failed calling webhook"
"""An admission webhook that does not answer comes back as code 500, but only its owner can mend it."""


def error_for(code: int, body: dict[str, object], retry_after: float | None = None) -> KubeError:
    """Return the error of a response; `body` is the API server's Status object."""
    reason, message = str(body.get("reason", "")), str(body.get("message", "no message"))
    kinds: dict[int, type[KubeError]] = {
        HTTPStatus.NOT_FOUND: NotFound,
        HTTPStatus.CONFLICT: AlreadyExists if reason == "AlreadyExists" else Conflict,
        HTTPStatus.BAD_REQUEST: Refused,
        HTTPStatus.FORBIDDEN: Refused,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Refused,
        HTTPStatus.UNPROCESSABLE_ENTITY: Refused,
    }
    kind = Refused if _WEBHOOK in message else kinds.get(code, Transient)
    return kind(code, message, reason, retry_after)
