"""Streams go through event by event, and nothing but silence ends them."""

import asyncio
from typing import Any

import aiohttp
import pytest
import yaml

from egress import proxy
from egress.calls import call
from egress.proxy import Proxy
from egress.upstream import Upstream


@pytest.mark.requirement("H24")
async def test_the_first_event_arrives_before_the_second_is_sent(
    egress: Proxy, model: Upstream, http: aiohttp.ClientSession
) -> None:
    async with asyncio.timeout(60), http.post(f"{egress.agents}/v1/messages?stream=1", json={}) as answer:
        assert b"first" in await answer.content.readuntil(b"\n\n")
        model.second_event.set()
        assert b"second" in await answer.content.readuntil(b"\n\n")


async def test_no_route_has_a_time_limit_and_silence_may_last_as_long_as_the_values_say() -> None:
    files = proxy.rendered({"host": "api.anthropic.com"}, streamIdleTimeoutSeconds=7200)
    listener = yaml.safe_load(files["envoy.yaml"])["static_resources"]["listeners"][0]
    connections = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert connections["stream_idle_timeout"] == "7200s"
    forwards = [route["route"] for route in _routes(connections) if "route" in route]
    assert {(forward["timeout"], forward["idle_timeout"]) for forward in forwards} == {("0s", "7200s")}


async def test_a_large_request_passes(egress: Proxy, model: Upstream, http: aiohttp.ClientSession) -> None:
    body = b"x" * (512 * 1024)
    assert (await call(http, f"{egress.agents}/v1/messages", data=body)).status == 200
    assert len(await model.requests[0].read()) == len(body)


def _routes(connections: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the routes of the model's virtual host."""
    (host,) = connections["route_config"]["virtual_hosts"]
    routes: list[dict[str, Any]] = host["routes"]
    return routes
