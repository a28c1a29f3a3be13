"""The key goes to the model API and nowhere else; what the agent sends as a key goes nowhere."""

import asyncio

import aiohttp
import pytest

from egress import proxy
from egress.calls import call
from egress.conftest import KEY
from egress.proxy import Proxy
from egress.upstream import Upstream

MESSAGES = "/v1/messages"
PLACEHOLDER = {
    "x-api-key": "placeholder",
    "authorization": "Bearer placeholder",
    "proxy-authorization": "Basic placeholder",
    "cookie": "session=placeholder",
}


@pytest.mark.requirement("H33", "H35")
async def test_the_key_is_added_and_the_placeholder_never_goes_upstream(
    egress: Proxy, model: Upstream, http: aiohttp.ClientSession
) -> None:
    answer = await call(http, egress.agents + MESSAGES, headers=PLACEHOLDER, json={})
    assert answer.status == 200
    (request,) = model.requests
    assert request.headers.getall("x-api-key") == [KEY]
    assert not [value for value in request.headers.values() if "placeholder" in value]


@pytest.mark.requirement("H33")
async def test_the_key_does_not_come_back_to_the_agent(egress: Proxy, http: aiohttp.ClientSession) -> None:
    for path in (MESSAGES, "/v1/files", "/config_dump", "/stats"):
        answer = await call(http, egress.agents + path, json={})
        assert KEY not in answer.headers + answer.body


async def test_pod_addresses_and_proxy_headers_stay_in_the_cluster(
    egress: Proxy, model: Upstream, http: aiohttp.ClientSession
) -> None:
    sent = {"x-forwarded-for": "10.1.2.3", "x-envoy-original-path": "/v1/files", "x-envoy-max-retries": "9"}
    assert (await call(http, egress.agents + MESSAGES, headers=sent, json={})).status == 200
    names = {name.lower() for name in model.requests[0].headers}
    assert not [name for name in names if name.startswith(("x-forwarded", "x-envoy", "x-request-id"))]
    assert model.requests[0].headers["host"] == f"localhost:{model.port}"


@pytest.mark.requirement("H33")
async def test_a_changed_secret_is_picked_up_without_a_restart(
    egress: Proxy, model: Upstream, http: aiohttp.ClientSession
) -> None:
    await _call_until_key(http, egress, model, KEY)
    egress.credential.write("sk-second-key")
    await _call_until_key(http, egress, model, "sk-second-key")


async def test_a_newline_at_the_end_of_the_secret_is_not_part_of_the_key(
    model: Upstream, http: aiohttp.ClientSession
) -> None:
    async with proxy.running("sk-from-a-file\n", model.address()) as running:
        assert (await call(http, running.agents + MESSAGES, json={})).status == 200
    assert model.requests[0].headers["x-api-key"] == "sk-from-a-file"


async def test_header_and_prefix_are_by_choice(model: Upstream, http: aiohttp.ClientSession) -> None:
    credential = {"secretRef": {"name": "model-key"}, "header": "Authorization", "valuePrefix": "Bearer "}
    async with proxy.running(KEY, model.address(), credential=credential) as running:
        assert (await call(http, running.agents + MESSAGES, headers=PLACEHOLDER, json={})).status == 200
    assert model.requests[0].headers.getall("authorization") == [f"Bearer {KEY}"]
    assert "x-api-key" not in model.requests[0].headers


async def _call_until_key(http: aiohttp.ClientSession, egress: Proxy, model: Upstream, key: str) -> None:
    """Call until the upstream sees `key`; the kubelet gives no sign of a swap either."""
    async with asyncio.timeout(30):
        while not model.requests or model.requests[-1].headers["x-api-key"] != key:
            assert (await call(http, egress.agents + MESSAGES, json={})).status == 200
