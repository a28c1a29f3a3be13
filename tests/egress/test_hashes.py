"""What the bench simulates of Envoy's consistent hashes is what Envoy does: a comparison rests on it."""

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
import yaml
from aiohttp import web

from bench.envoyhash import Choose, maglev, ring, xxh64
from egress import proxy

IDS = [str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)) for number in range(1, 301)]
HEADER = "x-session"
_TYPES = "type.googleapis.com/envoy.extensions.filters"


@asynccontextmanager
async def members(names: Sequence[str]) -> AsyncIterator[dict[str, int]]:
    """Serve one port for each member, at which it says its name; yield the ports."""
    ports: dict[int, str] = {}

    async def say(request: web.Request) -> web.Response:
        assert request.transport is not None
        return web.Response(text=ports[request.transport.get_extra_info("sockname")[1]])

    app = web.Application()
    app.router.add_get("/", say)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        for name in names:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            ports[runner.addresses[-1][1]] = name
        yield {name: port for port, name in ports.items()}
    finally:
        await runner.cleanup()


def bootstrap(folder: Path, policy: str, ports: dict[str, int]) -> dict[str, Any]:
    """Return an Envoy that sends each session to one of the members, known to it by their names."""
    endpoints = [
        {"endpoint": {"address": _address(port)}, "metadata": {"filter_metadata": {"envoy.lb": {"hash_key": name}}}}
        for name, port in ports.items()
    ]
    route = {"cluster": "hosts", "hash_policy": [{"header": {"header_name": HEADER}}]}
    connections = {
        "@type": f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "sessions",
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{_TYPES}.http.router.v3.Router"}}],
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}]
        },
    }
    listener: dict[str, Any] = {"name": "sessions", "address": _address(0)}
    listener["filter_chains"] = [{"filters": [{"name": "http", "typed_config": connections}]}]
    cluster = {"name": "hosts", "type": "STATIC", "lb_policy": policy, "load_assignment": {"cluster_name": "hosts"}}
    cluster["load_assignment"] |= {"endpoints": [{"lb_endpoints": endpoints}]}  # type: ignore[operator]
    admin = {"address": {"pipe": {"path": str(folder / "admin.sock")}}}
    return {"admin": admin, "static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


async def chosen(policy: str, names: Sequence[str]) -> dict[str, str]:
    """Return where a real Envoy sends each id."""
    with tempfile.TemporaryDirectory(prefix="hashes") as made:
        folder = Path(made)
        async with members(names) as ports:
            (folder / "envoy.yaml").write_text(yaml.safe_dump(bootstrap(folder, policy, ports)))
            async with proxy.started(folder) as (listeners, _), aiohttp.ClientSession() as http:
                url, out = f"http://127.0.0.1:{listeners['sessions']}/", {}
                for one in IDS:
                    async with http.get(url, headers={HEADER: one}) as answer:
                        out[one] = await answer.text()
                return out


@pytest.mark.requirement("H37")
@pytest.mark.parametrize("count", [3, 4, 10])
@pytest.mark.parametrize(("policy", "simulated"), [("MAGLEV", maglev), ("RING_HASH", ring)])
async def test_an_id_goes_where_the_simulation_says(
    policy: str, simulated: Callable[[Sequence[str]], Choose], count: int
) -> None:
    # Not in the order of their numbers: Envoy gets members in whatever order they come up.
    names = [f"chat-6c1f0e-{number}" for number in reversed(range(count))]
    choose = simulated(names)
    assert await chosen(policy, names) == {one: choose(xxh64(one.encode())) for one in IDS}
