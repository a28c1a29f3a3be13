"""Passes requests on to a server that an agent has started in this pod: HTTP and WebSocket, streamed both ways."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from agentrunner.serving.problems import Problem

_HOP_BY_HOP = frozenset(
    {
        "connection",
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


async def forward(
    request: web.Request, port: int, path: str, client: aiohttp.ClientSession, limit: int
) -> web.StreamResponse:
    """Pass one request on to 127.0.0.1:`port`; a body over `limit` bytes is refused. Raises Problem."""
    query = f"?{request.query_string}" if request.query_string else ""
    url = f"http://127.0.0.1:{port}/{path}{query}"
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return await _websocket(request, url, client)
    try:
        async with client.request(
            request.method,
            url,
            headers=_request_headers(request),
            data=_body(request, limit) if request.body_exists else None,
            allow_redirects=False,
            timeout=_CONNECT,
        ) as answer:
            return await _answer(request, answer)
    except aiohttp.ClientConnectionError as error:
        raise _no_answer(port) from error


async def _answer(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Stream the server's answer back as it comes."""
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=_kept(answer.headers))
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


async def _body(request: web.Request, limit: int) -> AsyncIterator[bytes]:
    """Yield the body as it comes, up to the limit."""
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        yield chunk


async def _websocket(request: web.Request, url: str, client: aiohttp.ClientSession) -> web.StreamResponse:
    """Join two WebSockets."""
    protocols = [p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if p.strip()]
    headers = {
        name: value for name, value in _request_headers(request).items() if not name.lower().startswith("sec-websocket")
    }
    try:
        inner = await client.ws_connect(url, headers=headers, protocols=protocols, max_msg_size=0, autoclose=False)
    except aiohttp.ClientError as error:
        raise _no_answer(request.url.port or 0) from error
    async with inner:
        outer = web.WebSocketResponse(
            protocols=[inner.protocol] if inner.protocol else (), max_msg_size=0, autoclose=False
        )
        await outer.prepare(request)
        ways = [asyncio.create_task(_pump(outer, inner)), asyncio.create_task(_pump(inner, outer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await outer.close(code=inner.close_code or 1000)
    return outer


_Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pump(source: _Socket, sink: _Socket) -> None:
    """Carry frames one way until one side closes."""
    while True:
        frame = await source.receive()
        if frame.type is aiohttp.WSMsgType.TEXT:
            await sink.send_str(frame.data)
        elif frame.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(frame.data)
        else:
            await sink.close(code=source.close_code or 1000)
            return


def _request_headers(request: web.Request) -> CIMultiDict[str]:
    """Return what the agent's server may see: nothing that opens a door."""
    out = _kept(request.headers)
    for name in list(out):
        if name.lower().startswith(_NOT_FOR_AGENTS):
            out.popall(name, None)
    if prefix := request.headers.get(_PREFIX_HEADER):
        out["X-Forwarded-Prefix"] = prefix
    return out


def _kept(headers: "aiohttp.typedefs.LooseHeaders") -> CIMultiDict[str]:
    """Return headers without those that concern one connection only."""
    found = CIMultiDict(headers)
    named = {token.strip().lower() for token in found.get("Connection", "").split(",")}
    return CIMultiDict((k, v) for k, v in found.items() if k.lower() not in _HOP_BY_HOP | named)


def _too_large(limit: int) -> Problem:
    return Problem(413, "too-large", f"A body may have at most {limit} bytes.")


def _no_answer(port: int) -> Problem:
    return Problem(502, "port-not-served", f"The server on port {port} does not answer.")
