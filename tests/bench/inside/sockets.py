"""Runs in a pod: holds idle WebSockets open.

Standard input: {"urls", "headers", "count", "seconds"}. Standard output: {"opened"} once they are open, and
{"open"}, how many still are, after `seconds` of silence.
"""

import asyncio
import json
import sys
from typing import Any

import aiohttp

AT_ONCE = 20


async def hold(config: dict[str, Any]) -> None:
    """Open, wait, and count."""
    gate = asyncio.Semaphore(AT_ONCE)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=config["headers"], connector=connector) as http:

        async def opened(number: int) -> aiohttp.ClientWebSocketResponse[bool]:
            async with gate:
                return await http.ws_connect(config["urls"][number % len(config["urls"])])

        sockets = await asyncio.gather(*(opened(number) for number in range(config["count"])))
        print(json.dumps({"opened": len(sockets)}), flush=True)
        readers = [asyncio.create_task(one.receive()) for one in sockets]  # answers the host's pings
        await asyncio.wait(readers, timeout=config["seconds"])
        print(json.dumps({"open": sum(not one.closed for one in sockets)}), flush=True)
        for reader in readers:
            reader.cancel()


asyncio.run(hold(json.loads(sys.stdin.readline())))
