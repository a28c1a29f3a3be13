"""Runs in a pod: holds idle streams open, WebSockets or server-sent events.

Standard input: {"urls", "headers", "count", "seconds", "kind": "ws" or "events"}. Standard output: {"opened"} once they
are open, and {"open"}, how many still are, after `seconds` of silence.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

AT_ONCE = 20
Ended = Awaitable[object]
"""Waits for the end of a stream; answers the host's pings meanwhile."""


async def websocket(http: aiohttp.ClientSession, url: str) -> Ended:
    """Open a WebSocket."""
    return (await http.ws_connect(f"{url}/ws")).receive()


async def events(http: aiohttp.ClientSession, url: str) -> Ended:
    """Open a stream of events."""
    answer = await http.get(f"{url}/events")
    answer.raise_for_status()
    return answer.read()


OPEN: dict[str, Callable[[aiohttp.ClientSession, str], Awaitable[Ended]]] = {"ws": websocket, "events": events}


async def hold(config: dict[str, Any]) -> None:
    """Open, wait, and count."""
    gate, make = asyncio.Semaphore(AT_ONCE), OPEN[config["kind"]]
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None, sock_connect=30)
    async with aiohttp.ClientSession(headers=config["headers"], connector=connector, timeout=timeout) as http:

        async def opened(number: int) -> Ended:
            async with gate:
                return await make(http, config["urls"][number % len(config["urls"])])

        streams = await asyncio.gather(*(opened(number) for number in range(config["count"])))
        print(json.dumps({"opened": len(streams)}), flush=True)
        readers = [asyncio.ensure_future(stream) for stream in streams]
        await asyncio.sleep(config["seconds"])
        print(json.dumps({"open": sum(not reader.done() for reader in readers)}), flush=True)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


asyncio.run(hold(json.loads(sys.stdin.readline())))
