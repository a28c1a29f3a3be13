"""What a path asks for; pure. What is not exactly one of ours is nothing."""

import re
from dataclasses import dataclass
from enum import StrEnum

NAME = r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?"
IMPLICIT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

_NAMED = re.compile(rf"/v1/namespaces/({NAME})/sessions/({NAME})(/.*)?")
_IMPLICIT = re.compile(rf"/v1/namespaces/({NAME})/pools/({NAME})/sessions/([^/]+)(/.*)?")
_COOKBOOK = re.compile(r"/sessions/([^/]+)(/messages)")
_POOL = re.compile(rf"({NAME})/({NAME})")
_PORT = re.compile(r"/ports/([0-9]{1,5})(/.*)?")
_ODD = re.compile(r"[\x00-\x20\x7f\\]|//|/(?:\.|%2[eE]){1,2}(?:/|$)|%2[fF]|%5[cC]|%00")
_TALK = {
    "": ("GET",),
    "/messages": ("POST",),
    "/events": ("GET",),
    "/ws": ("GET",),
    "/interrupt": ("POST",),
    "/transcript": ("GET",),
}
_STREAMS = frozenset({"/messages", "/events"})


class Kind(StrEnum):
    """What is asked for: a session that has a resource, or an id of a pool."""

    NAMED = "named"
    IMPLICIT = "implicit"


class PathProblem(Exception):
    """The path asks for nothing that there is; `slug`, `status` and text say what to answer."""

    def __init__(self, status: int, slug: str, detail: str) -> None:
        super().__init__(slug)
        self.status, self.slug, self.detail = status, slug, detail


@dataclass(frozen=True, slots=True)
class Target:
    """What a request asks for. `name` is the session's, or the pool's for an id without a resource.

    `prefix` is the public path of the session's port, for servers that make links. `wakes` is whether a session that
    sleeps is woken for it: to look at how it stands is no reason. `streams` is whether it answers with
    a stream of events.
    """

    kind: Kind
    namespace: str
    name: str
    verb: str
    session_id: str = ""
    port: int | None = None
    prefix: str = ""
    wakes: bool = True
    streams: bool = False

    @property
    def subresource(self) -> str:
        """The part of the resource that access is granted to."""
        return "ports" if self.port is not None else "conversation"


@dataclass(frozen=True, slots=True)
class CookbookPool:
    """The pool that serves a path without a namespace."""

    namespace: str
    pool: str


def cookbook_pool(text: str) -> CookbookPool:
    """Return the pool that a client names as `namespace/pool`; raises PathProblem for anything else."""
    if match := _POOL.fullmatch(text):
        return CookbookPool(match[1], match[2])
    raise PathProblem(400, "bad-pool", "X-Agentsessions-Pool must be `namespace/pool`.")


def parse(method: str, url: str, cookbook: CookbookPool | None) -> Target:
    """Return what a request asks for; raises PathProblem."""
    path = url.partition("?")[0]
    if _ODD.search(path):
        raise PathProblem(400, "bad-path", "The path has segments or characters that are not allowed.")
    if match := _NAMED.fullmatch(path):
        return _named(method, match[1], match[2], match[3] or "")
    if match := _IMPLICIT.fullmatch(path):
        return _implicit(method, match[1], match[2], match[3], match[4] or "")
    if (match := _COOKBOOK.fullmatch(path)) and cookbook is not None:
        return _implicit(method, cookbook.namespace, cookbook.pool, match[1], match[2])
    raise _nothing()


def _named(method: str, namespace: str, name: str, tail: str) -> Target:
    if (match := _PORT.fullmatch(tail)) is None:
        wakes, verb = tail not in ("", "/interrupt"), _verb(method, tail)
        return Target(Kind.NAMED, namespace, name, verb, wakes=wakes, streams=tail in _STREAMS)
    port = int(match[1])
    prefix = f"/v1/namespaces/{namespace}/sessions/{name}/ports/{port}"
    verb = "get" if method in ("GET", "HEAD", "OPTIONS") else "create"
    return Target(Kind.NAMED, namespace, name, verb, port=port, prefix=prefix)


def _implicit(method: str, namespace: str, pool: str, session_id: str, tail: str) -> Target:
    if not IMPLICIT_ID.fullmatch(session_id):
        raise PathProblem(
            400, "bad-session-id", "An id has 1 to 64 letters, digits, '-' and '_', and begins with a letter or digit."
        )
    verb = _verb(method, tail)
    return Target(Kind.IMPLICIT, namespace, pool, verb, session_id=session_id, streams=tail in _STREAMS)


def _verb(method: str, tail: str) -> str:
    """Return what Kubernetes calls the request: to read a conversation is to get it, to take part is to create."""
    if tail not in _TALK:
        raise _nothing()
    if method not in _TALK[tail]:
        raise PathProblem(405, "method-not-allowed", f"Use {', '.join(_TALK[tail])} here.")
    return "create" if method == "POST" or tail == "/ws" else "get"


def _nothing() -> PathProblem:
    return PathProblem(404, "not-found", NOT_FOUND)


NOT_FOUND = "There is no such session, or you may not see it."
