"""Runs in a pod: asks one URL again and again, some at a time.

Standard input: {"url", "headers", "requests", "atOnce"}. Standard output: {"perSecond", "ms": [every request's time]}.
"""

import asyncio
import json
import sys
import time
from typing import Any

import aiohttp


async def load(config: dict[str, Any]) -> dict[str, Any]:
    """Ask; every answer must be 200."""
    times: list[float] = []
    left = iter(range(config["requests"]))
    async with aiohttp.ClientSession(headers=config["headers"]) as http:

        async def worker() -> None:
            for _ in left:
                began = time.monotonic()
                async with http.get(config["url"]) as answer:
                    await answer.read()
                    assert answer.status == 200, answer.status
                times.append(round((time.monotonic() - began) * 1000, 3))

        began = time.monotonic()
        await asyncio.gather(*(worker() for _ in range(config["atOnce"])))
        return {"perSecond": round(config["requests"] / (time.monotonic() - began)), "ms": times}


print(json.dumps(asyncio.run(load(json.loads(sys.stdin.readline())))), flush=True)
