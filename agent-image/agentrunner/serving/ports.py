"""Passes requests on to a server that an agent has started in this pod: HTTP and WebSocket, streamed both ways."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from agentrunner.serving.problems import Problem

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_FOR_AGENTS = ("x-agentsessions-", "x-envoy-", "authorization", "host")
_PREFIX_HEADER = "X-Agentsessions-Prefix"
_CONNECT = aiohttp.ClientTimeout(total=None, sock_connect=5)
_CLIENTS_OWN = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that aiohttp would add by itself: what the client did not say is not said in its name."""

_NO_CODE, _ABNORMAL = 1005, 1006
"""What WebSocket libraries say of a close without a code, and of one without a close; neither may be sent."""


def port_client() -> aiohttp.ClientSession:
    """Return the client that calls agents' servers: it remembers nothing, and takes bodies as they are."""
    # A kept connection may belong to a server that is gone by now, and a request that was sent cannot be repeated.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, timeout=_CONNECT
    )


async def forward(
    request: web.Request, where: tuple[str, int], path: str, client: aiohttp.ClientSession, limit: int
) -> web.StreamResponse:
    """Pass one request on to the server at an address and port; a body over `limit` bytes is refused. Raises Problem.

    `path` is what the client wrote, with its escapes: another spelling may mean something else to the server.
    """
    query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
    address = f"[{where[0]}]" if ":" in where[0] else where[0]
    url = URL(f"http://{address}:{where[1]}/{path}{query}", encoded=True)
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return await _websocket(request, url, client)
    return await _http(request, url, client, limit)


async def _http(request: web.Request, url: URL, client: aiohttp.ClientSession, limit: int) -> web.StreamResponse:
    """Pass an HTTP request on, and its answer back."""
    body = _Body(request, limit)
    try:
        answer = await client.request(
            request.method,
            url,
            headers=_request_headers(request),
            skip_auto_headers=_CLIENTS_OWN,
            data=body.chunks() if request.body_exists else None,
            allow_redirects=False,
        )
    except aiohttp.ClientError as error:
        raise (_too_large(limit) if body.is_too_large else _no_answer(url)) from error
    async with answer:
        return await _answer(request, answer)


async def _answer(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Stream the server's answer back as it comes."""
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=_kept(answer.headers))
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
    except (aiohttp.ClientError, ConnectionResetError):
        # Half an answer must not look like a whole one, and it is too late for an error.
        if request.transport is not None:
            request.transport.abort()
    return response


class _Body:
    """The body of a request as it comes, up to a limit."""

    def __init__(self, request: web.Request, limit: int) -> None:
        self._request = request
        self._limit = limit
        self._size = 0

    @property
    def is_too_large(self) -> bool:
        """Whether it went over the limit; aiohttp hides what a body raises."""
        return self._size > self._limit

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body; raises Problem."""
        async for chunk in self._request.content.iter_any():
            self._size += len(chunk)
            if self.is_too_large:
                raise _too_large(self._limit)
            yield chunk


async def _websocket(request: web.Request, url: URL, client: aiohttp.ClientSession) -> web.StreamResponse:
    """Join two WebSockets."""
    protocols = [p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if p.strip()]
    headers = {
        name: value for name, value in _request_headers(request).items() if not name.lower().startswith("sec-websocket")
    }
    try:
        inner = await client.ws_connect(url, headers=headers, protocols=protocols, max_msg_size=0, autoclose=False)
    except aiohttp.ClientError as error:
        raise _no_answer(url) from error
    async with inner:
        outer = web.WebSocketResponse(
            protocols=[inner.protocol] if inner.protocol else (), max_msg_size=0, autoclose=False
        )
        await outer.prepare(request)
        await _join(outer, inner)
    return outer


async def _join(outer: web.WebSocketResponse, inner: aiohttp.ClientWebSocketResponse) -> None:
    """Carry frames both ways until one side closes, then close the other in the same words."""
    ways = [asyncio.create_task(_pump(outer, inner)), asyncio.create_task(_pump(inner, outer))]
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
    await asyncio.gather(*ways, return_exceptions=True)
    first = done.pop()
    code, reason = (_ABNORMAL, b"") if first.exception() else first.result()
    code = {_NO_CODE: 1000, _ABNORMAL: 1011}.get(code, code)
    await inner.close(code=code, message=reason)
    await outer.close(code=code, message=reason)


_Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pump(source: _Socket, sink: _Socket) -> tuple[int, bytes]:
    """Carry frames one way until the source closes; return its code and reason."""
    while True:
        frame = await source.receive()
        if frame.type is aiohttp.WSMsgType.TEXT:
            await sink.send_str(frame.data)
        elif frame.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(frame.data)
        elif frame.type is aiohttp.WSMsgType.CLOSE:
            return source.close_code or _NO_CODE, (frame.extra or "").encode()
        else:
            return _ABNORMAL, b""


def _request_headers(request: web.Request) -> CIMultiDict[str]:
    """Return what the agent's server may see: nothing that opens a door."""
    out = _kept(request.headers)
    for name in list(out):
        if name.lower().startswith(_NOT_FOR_AGENTS):
            out.popall(name, None)
    if prefix := request.headers.get(_PREFIX_HEADER):
        out["X-Forwarded-Prefix"] = prefix
    return out


def _kept(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Return headers without those that concern one connection only."""
    named = {token.strip().lower() for value in headers.getall("Connection", []) for token in value.split(",")}
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in _HOP_BY_HOP | named)


def _too_large(limit: int) -> Problem:
    return Problem(413, "too-large", f"A body may have at most {limit} bytes.")


def _no_answer(url: URL) -> Problem:
    return Problem(502, "port-not-served", f"The server on port {url.port} does not answer.")
