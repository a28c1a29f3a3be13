"""Runs in a pod: somebody who asks five times a second and holds a conversation, whatever happens to the gateway.

Standard input: {"url", "token", "prompt"}, and any line when it is to come to an end. Standard output: {"requests",
"failures", "turns"}.
"""

import asyncio
import json
import sys
import time
import uuid
from typing import Any

import aiohttp

PAUSE, TRIES = 0.2, 20
CUT = (aiohttp.ClientError, OSError, asyncio.IncompleteReadError)


async def ask(http: aiohttp.ClientSession, url: str, over: asyncio.Event) -> dict[str, Any]:
    """Read the session's state again and again, each time by a new connection."""
    count, failures = 0, []
    while not over.is_set():
        count += 1
        try:
            async with http.get(url, timeout=aiohttp.ClientTimeout(total=15)) as answer:
                await answer.read()
                if answer.status != 200:
                    failures.append({"at": time.time(), "error": str(answer.status)})
        except (*CUT, TimeoutError) as error:
            failures.append({"at": time.time(), "error": repr(error)})
        await asyncio.sleep(PAUSE)
    return {"requests": count, "failures": failures}


async def talk(http: aiohttp.ClientSession, url: str, prompt: str, over: asyncio.Event) -> list[dict[str, Any]]:
    """Send one message after another; a stream that was cut is taken up where it stopped. The last one ends, too."""
    turns = []
    while not over.is_set():
        turns.append(await one_turn(http, url, prompt))
    return turns


async def one_turn(http: aiohttp.ClientSession, url: str, prompt: str) -> dict[str, Any]:
    """Send a message; return its events' numbers and kinds, and how often the stream was cut."""
    turn: dict[str, Any] = {"events": [], "cuts": 0}
    place, key = "", str(uuid.uuid4())
    for _ in range(TRIES):
        try:
            if place:
                request = http.get(f"{url}/events", headers={"Last-Event-ID": place})
            else:
                request = http.post(f"{url}/messages", json={"prompt": prompt}, headers={"Idempotency-Key": key})
            async with request as answer:
                if answer.status == 200:
                    place = await follow(answer, turn, place)
                    if turn["events"] and turn["events"][-1][1] in ("done", "error"):
                        return turn
        except CUT:
            pass
        turn["cuts"] += 1
        await asyncio.sleep(PAUSE)
    return turn


async def follow(answer: aiohttp.ClientResponse, turn: dict[str, Any], place: str) -> str:
    """Note the events of a stream as they come; return the id of the last one, also when the stream is cut."""
    fields: dict[str, str] = {}
    try:
        async for raw in answer.content:
            line = raw.decode().rstrip("\n")
            name, _, value = line.partition(": ")
            if line and not line.startswith(":"):
                fields[name] = value
            elif not line and "id" in fields:
                place, kind = fields["id"], fields.get("event", "")
                turn["events"].append((int(place.rpartition("-")[2]), kind))
                if kind in ("done", "error"):
                    break
                fields = {}
    except CUT:
        pass
    return place


async def ended(over: asyncio.Event) -> None:
    """Wait until it is said that this is to come to an end."""
    await asyncio.to_thread(sys.stdin.readline)
    over.set()


async def main() -> None:
    """Do both at once, and say what came of it."""
    config = json.loads(sys.stdin.readline())
    over = asyncio.Event()
    told = asyncio.create_task(ended(over))
    headers = {"Authorization": f"Bearer {config['token']}"}
    connector = aiohttp.TCPConnector(force_close=True)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
    async with aiohttp.ClientSession(headers=headers, connector=connector, timeout=timeout) as http:
        asked, turns = await asyncio.gather(
            ask(http, config["url"], over), talk(http, config["url"], config["prompt"], over)
        )
    await told
    print(json.dumps(asked | {"turns": turns}), flush=True)


asyncio.run(main())
