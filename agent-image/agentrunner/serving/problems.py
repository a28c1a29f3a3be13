"""Errors that callers of a host get, as application/problem+json (RFC 9457)."""

from collections.abc import Mapping

from aiohttp import web

from agentsessions.api.bounds import PROBLEMS, Limit, explain
from agentsessions.api.host import problem

NO_ROOM = (
    "The session's volume has no room left, and the message was not read. Delete files in its workspace or in "
    "what else fills the volume (`kubectl exec` into its pod), or make the volume larger, then send it again."
)


class Problem(Exception):
    """An answer that is an error; `slug` is its stable type, `status` the HTTP status, `more` further members."""

    def __init__(
        self,
        status: int,
        slug: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(slug)
        self.status = status
        self.slug = slug
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def response(self) -> web.Response:
        """Return the answer."""
        body = problem(self.slug, self.slug.replace("-", " ").capitalize(), self.status, self.detail) | self.more
        return web.json_response(
            body, status=self.status, headers=self.headers, content_type="application/problem+json"
        )


def not_found() -> Problem:
    """The session is not on this host."""
    return Problem(404, "session-not-found", "This host has no such session.")


def not_here() -> Problem:
    """The session is not on this host, and whoever sent the request here has not heard of that yet."""
    return Problem(
        503, "session-not-ready", "The session is not on this host: send the request again.", {"Retry-After": "1"}
    )


def draining() -> Problem:
    """The host is about to stop."""
    return Problem(503, "draining", "This host is about to stop and takes no more work.", {"Retry-After": "1"})


def busy() -> Problem:
    """The session has something to do."""
    return Problem(409, "session-busy", "The session is not idle.")


def leaving() -> Problem:
    """The session is being put to sleep."""
    return Problem(
        503, "session-suspended", "The session is falling asleep; send the message again.", {"Retry-After": "1"}
    )


def moved() -> Problem:
    """Another pod has the session."""
    return Problem(
        503, "session-moved", "The session goes on in another pod: send the message again.", {"Retry-After": "1"}
    )


def no_room() -> Problem:
    """The volume is full: nothing can be written down of a message, so it does not begin."""
    return Problem(507, "no-room", NO_ROOM, {"Retry-After": "5"})


def limited(limit: Limit) -> Problem:
    """The session has reached a bound: asked again, it answers the same until somebody raises it."""
    return Problem(409, PROBLEMS[limit], explain(limit))


def session_finished() -> Problem:
    """The session is over."""
    return Problem(410, "session-finished", "The session is over and takes no more messages.")
