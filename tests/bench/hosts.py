"""`python -m bench.hosts`: sessions on a shared host, and the gateway against the same host without it, in one run.

Both ways go through `kubectl port-forward` from the measuring process, so that the difference is the gateway's.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import cluster
from bench import measure
from bench.report import percentile
from demo.images import Images
from e2e import install, manifests
from e2e.api import PODS, POOLS, SESSIONS, Api, Json, condition
from e2e.forwarding import forwarded
from e2e.gateway import Gateway, fetch, key_id, reached
from e2e.operator_pod import Operator
from e2e.stage import POOL_UID, read_signing_key
from e2e.terminal import Terminal
from e2e.waiting import wait_for

STEPS = (1, 5, 10, 20)
REQUESTS, AT_ONCE, SOCKETS = 400, 16, 200


def main() -> None:
    """Prepare the cluster, measure, print what came out as JSON."""
    provider, images = cluster.provider(), install.build_images()
    terminal, api = _prepared(provider, images)
    with measure.namespace(api, f"bench-{secrets.token_hex(3)}") as space, reached(api, terminal) as gateway:
        api.apply(manifests.account(space, "bench"))
        api.apply(manifests.editor(space, "bench"))
        api.apply(manifests.pool(space, replicas=1, sessionsPerHost=max(STEPS)))
        _until_pool(api, space)
        host = _fill(api, terminal, space)
        print(json.dumps({"host": host, "gateway": _compare(api, terminal, gateway, space)}, indent=2))
    api.close()


def _prepared(provider: cluster.Provider, images: Images) -> tuple[Terminal, Api]:
    """Return a cluster with the release installed."""
    install.provide(provider, images)
    terminal, api = Terminal(provider.kubeconfig()), Api(provider.kubeconfig())
    install.install_stand_in(terminal, api, images)
    install.install_operator(terminal, Operator(api, terminal), install.values(images))
    return terminal, api


def _fill(api: Api, terminal: Terminal, space: str) -> list[Json]:
    """Add sessions to one host; return start times in seconds and memory in MiB after each step."""
    rows, made = [], 0
    for count in STEPS:
        seconds = []
        for number in range(made, count):
            began = time.monotonic()
            api.apply(manifests.lasting(space, f"s-{number}"))
            _running(api, space, f"s-{number}")
            seconds.append(time.monotonic() - began)
        made = count
        rows.append({"sessions": count, "startP50": round(percentile(seconds, 0.5), 2)} | _memory(api, terminal, space))
    return rows


def _memory(api: Api, terminal: Terminal, space: str) -> Json:
    """Return what the host holds, in MiB: all of it, and its sessions' processes by their own share."""
    pod = _host(api, space)["metadata"]["name"]
    script = "awk '/^Pss:/{s+=$2} END{print s}' /proc/[0-9]*/smaps_rollup"
    total = int(terminal.execute(space, pod, "sh", "-c", script)) // 1024
    with forwarded(terminal, space, pod, 8000) as url:
        lines = fetch(f"{url}/metrics").splitlines()
    held = next(
        float(line.split()[1]) for line in lines if line.startswith("agentsessions_host_sessions_memory_bytes ")
    )
    return {"hostMiB": total, "sessionsMiB": round(held / 2**20)}


def _compare(api: Api, terminal: Terminal, gateway: Gateway, space: str) -> Json:
    """Ask the same session by the gateway and directly; return requests a second and milliseconds."""
    session, host = _session(api, space, "s-0"), _host(api, space)
    key = load_pem_private_key(read_signing_key(api), None)
    assert isinstance(key, Ed25519PrivateKey)
    now, uid = int(time.time()), session["metadata"]["uid"]
    claims = {"iss": "agentsessions.dev", "aud": host["metadata"]["uid"], "sub": uid, "scope": "session"}
    token = jwt.encode(
        claims | {"iat": now, "exp": now + 110}, key, algorithm="EdDSA", headers={"kid": key_id(terminal, host)}
    )
    public = f"{gateway.url}/v1/namespaces/{space}/sessions/s-0"
    bearer = {"Authorization": f"Bearer {gateway.token(space, 'bench')}"}
    with forwarded(terminal, space, host["metadata"]["name"], 8000) as direct:
        return asyncio.run(_both(direct + f"/sessions/{uid}", {"X-Agentsessions-Token": token}, public, bearer))


async def _both(direct: str, token: Json, public: str, bearer: Json) -> Json:
    """Measure both ways, one after the other, twice, and hold the better of each."""
    async with aiohttp.ClientSession() as http:
        ways: dict[str, Callable[[], Awaitable[Json]]] = {
            "direct": lambda: _load(http, direct, token),
            "gateway": lambda: _load(http, public, bearer),
        }
        found: dict[str, Any] = {}
        for name, way in [*ways.items()] * 2:
            row = await way()
            found[name] = max(found.get(name, row), row, key=lambda one: float(one["perSecond"]))
        found["openSockets"] = await _sockets(http, f"{public}/ws", bearer)
        return found


async def _load(http: aiohttp.ClientSession, url: str, headers: Json) -> Json:
    """Ask again and again, some at a time."""
    times: list[float] = []
    left = iter(range(REQUESTS))

    async def worker() -> None:
        for _ in left:
            began = time.monotonic()
            async with http.get(url, headers=headers) as answer:
                await answer.read()
                assert answer.status == 200, answer.status
            times.append((time.monotonic() - began) * 1000)

    began = time.monotonic()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    rate = REQUESTS / (time.monotonic() - began)
    return {
        "perSecond": round(rate),
        "p50Ms": round(percentile(times, 0.5), 1),
        "p99Ms": round(percentile(times, 0.99), 1),
    }


async def _sockets(http: aiohttp.ClientSession, url: str, headers: Json) -> int:
    """Open WebSockets at one session and return how many are open at once."""
    opened = []
    try:
        for _ in range(SOCKETS):
            opened.append(await http.ws_connect(url, headers=headers))
        return sum(not one.closed for one in opened)
    finally:
        await asyncio.gather(*(one.close() for one in opened))


def _until_pool(api: Api, space: str) -> None:
    """Wait for the pool's host."""
    wait_for(api, POOLS, space, "chat", _is_ready, "a host")


def _running(api: Api, space: str, name: str) -> None:
    """Wait until a session is on its host."""
    wait_for(api, SESSIONS, space, name, _is_ready, "its host")


def _is_ready(thing: Json | None) -> bool:
    return thing is not None and condition(thing, "Ready").get("status") == "True"


def _session(api: Api, space: str, name: str) -> Json:
    found = api.get(SESSIONS, space, name)
    assert found is not None
    return found


def _host(api: Api, space: str) -> Json:
    (pod,) = api.list(PODS, space, labelSelector=POOL_UID)
    return pod


if __name__ == "__main__":
    main()
