"""The request of a relayed stream, sent to the session's host: once, and whole or not at all."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from agentsessions.api.host import PROBLEM_PREFIX, TOKEN_HEADER
from agentsessions.directory.refusals import Decision, later, refused

MAX_BODY = 10 * 2**20
"""Bytes of a message; hosts take no larger ones."""

_NOT_PASSED_ON = frozenset(
    {"connection", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_OURS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that aiohttp would add by itself."""

_NOT_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Failures in which nothing was sent."""

_PAUSES = (0.2, 0.5, 1.0, 2.0, 2.0)
"""Seconds before each further try to connect."""

_MOST_PROBLEM = 64 * 2**10
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=90)
"""Hosts send a sign of life every 15 seconds."""


class Undelivered(Exception):
    """The host has not taken the request, or nobody knows; `decision` is what to tell the client."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.outcome)
        self.decision = decision


def host_client() -> aiohttp.ClientSession:
    """Return the client that calls hosts: a connection for each request, so that none is sent into a dead one."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, timeout=_TIMEOUT
    )


@dataclass
class _Body:
    """The body of a request, taken from the client as the host takes it; `begun` is whether any of it may be out."""

    request: web.Request
    begun: bool = False
    size: int = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield it, up to the limit."""
        self.begun = True
        async for chunk in self.request.content.iter_any():
            self.size += len(chunk)
            if self.size > MAX_BODY:
                raise ValueError("the body is too large")
            yield chunk


async def deliver(http: aiohttp.ClientSession, request: web.Request, base: str, token: str) -> aiohttp.ClientResponse:
    """Send the request to the host at host:port; return its answer, a stream. Raises Undelivered.

    Only a connection that does not come about is tried again: nothing was sent then.
    """
    body = _Body(request)
    try:
        answer = await _sent(http, request, base, token, body)
    except _NOT_CONNECTED:
        raise Undelivered(later("gateway", "The session's host cannot be reached.")) from None
    except (aiohttp.ClientError, TimeoutError, OSError):
        raise Undelivered(_broken(body)) from None
    if answer.status == 200:
        return answer
    async with answer:
        raise Undelivered(await _refused(answer))


async def _sent(
    http: aiohttp.ClientSession, request: web.Request, base: str, token: str, body: _Body
) -> aiohttp.ClientResponse:
    """Send it as soon as there is a connection."""
    for pause in (*_PAUSES, None):
        try:
            return await http.request(
                request.method,
                URL(f"http://{base}{request.raw_path}", encoded=True),
                headers=_headers(request, token),
                skip_auto_headers=_OURS,
                data=body.chunks() if request.body_exists else None,
                allow_redirects=False,
            )
        except _NOT_CONNECTED:
            if pause is None or body.begun:
                raise
            await asyncio.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _headers(request: web.Request, token: str) -> CIMultiDict[str]:
    """Return the client's headers, with the host's token in place of the ticket."""
    out = CIMultiDict((name, value) for name, value in request.headers.items() if name.lower() not in _NOT_PASSED_ON)
    out[TOKEN_HEADER] = token
    return out


def _broken(body: _Body) -> Decision:
    """Return what to say of a request without an answer."""
    if body.size > MAX_BODY:
        return too_large()
    if not body.begun:
        return later("gateway", "The session's host gave no answer.")
    return refused(
        409,
        "turn-interrupted",
        "The message was sent to the session's host, and no answer came. Look at the transcript, or send it again with "
        "the same Idempotency-Key.",
    )


async def _refused(answer: aiohttp.ClientResponse) -> Decision:
    """Return what the host says, in its own words.

    That it does not take our token is nothing that a client could mend.
    """
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return later("session-not-ready", "The session's host does not take the gateway's token yet.")
    try:
        body: Any = json.loads(await answer.content.read(_MOST_PROBLEM))
    except (ValueError, aiohttp.ClientError, OSError):
        body = None
    if not isinstance(body, dict) or not str(body.get("type", "")).startswith(PROBLEM_PREFIX):
        return later("gateway", f"The session's host answered {answer.status}.")
    wait = {"Retry-After": answer.headers["Retry-After"]} if "Retry-After" in answer.headers else {}
    return refused(answer.status, str(body["type"]).removeprefix(PROBLEM_PREFIX), str(body.get("detail", "")), wait)


def too_large() -> Decision:
    """Return the refusal of a message that is too large."""
    return refused(413, "too-large", f"A message may have at most {MAX_BODY} bytes.")
