"""What is decided on a request, and in which words it is refused; the same in an answer and in a stream."""

from dataclasses import dataclass, field

from agentsessions.api.base import Json
from agentsessions.api.bounds import PROBLEMS, explain
from agentsessions.api.host import problem
from agentsessions.directory.holding import Late
from agentsessions.directory.paths import NOT_FOUND, PathProblem
from agentsessions.directory.whereabouts import Asleep, NotThere, Over, Spent, Stuck, Suspended
from agentsessions.kube.errors import KubeError


@dataclass(frozen=True, slots=True)
class Decision:
    """What Envoy is told: 200 with headers for whoever is next, or the answer that the client gets."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Json | None = None
    outcome: str = "allowed"


REFUSALS = (PathProblem, NotThere, Over, Suspended, Spent, Asleep, Stuck, Late, KubeError)
"""What `refusal` has words for."""

_WORDS = {
    Over: (410, "session-finished", "The session is over; its result is in its status."),
    Suspended: (409, "session-suspended", "The session is suspended (`suspended: true`)."),
    Asleep: (409, "session-asleep", "The session sleeps. A message wakes it; its status is in its resource."),
}


def refusal(error: Exception) -> Decision:
    """Return how a request is refused for one of REFUSALS."""
    if isinstance(error, PathProblem):
        return refused(error.status, error.slug, error.detail)
    if isinstance(error, NotThere):
        return nothing("not-found")
    if isinstance(error, Stuck):
        return later("session-stalled", f"The session cannot go on ({error}): see its status.", seconds=error.seconds)
    if isinstance(error, Spent):
        return refused(409, PROBLEMS[error.limit], explain(error.limit))
    if isinstance(error, Late):
        return later("session-not-ready", "The session is on its way to a host.", seconds=2)
    if words := _WORDS.get(type(error)):
        return refused(*words)
    return later("control-plane-unavailable", "Kubernetes does not answer at the moment.")


def nothing(outcome: str) -> Decision:
    """Return the one answer to what is not there and to what is not yours."""
    return Decision(404, {}, problem("not-found", "Not found", 404, NOT_FOUND), outcome)


def refused(status: int, slug: str, detail: str, headers: dict[str, str] | None = None) -> Decision:
    """Return a refusal."""
    return Decision(status, headers or {}, problem(slug, slug.replace("-", " ").capitalize(), status, detail), slug)


def later(slug: str, detail: str, seconds: int = 1) -> Decision:
    """Return a refusal for the moment."""
    return refused(503, slug, detail, {"Retry-After": str(seconds)})
