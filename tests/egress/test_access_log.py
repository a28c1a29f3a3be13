"""Every request leaves one line that says who and what, and never a key or a body."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from egress.calls import call
from egress.conftest import KEY
from egress.proxy import Proxy

SESSION = "6f0c1b9e-0000-4000-8000-000000000001"


@pytest.mark.requirement("H24")
async def test_a_request_leaves_one_line_with_its_session(egress: Proxy, http: aiohttp.ClientSession) -> None:
    headers = {"x-claude-code-session-id": SESSION, "x-api-key": "placeholder"}
    assert (await call(http, f"{egress.agents}/v1/messages?beta=true", headers=headers, json={})).status == 200
    (line,) = await _lines(egress)
    assert line["session"] == SESSION
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/messages", 200)
    assert line["source"] == "127.0.0.1"
    assert line["upstreamRequestId"] == "req_from_upstream"


@pytest.mark.requirement("H33")
async def test_no_key_query_or_body_is_ever_printed(egress: Proxy, http: aiohttp.ClientSession) -> None:
    secrets = {"x-api-key": "agent-header-key", "authorization": "Bearer agent-bearer"}
    for path, status in (("/v1/messages?token=agent-query", 200), ("/v1/files?token=agent-query", 403)):
        answer = await call(http, egress.agents + path, headers=secrets, json={"prompt": "agent-body"})
        assert answer.status == status
    await _lines(egress, count=2)
    printed = egress.log()
    for secret in (KEY, "agent-header-key", "agent-bearer", "agent-query", "agent-body"):
        assert secret not in printed


async def test_a_refused_path_is_logged_too(egress: Proxy, http: aiohttp.ClientSession) -> None:
    assert (await call(http, f"{egress.agents}/v1/files", json={})).status == 403
    (line,) = await _lines(egress)
    assert (line["path"], line["status"], line["details"]) == ("/v1/files", 403, "direct_response")


async def test_a_caller_cannot_forge_a_line(egress: Proxy, http: aiohttp.ClientSession) -> None:
    headers = {"x-claude-code-session-id": 'a","status":200,"session":"b' + "c" * 100}
    assert (await call(http, f"{egress.agents}/v1/messages", headers=headers, json={})).status == 200
    (line,) = await _lines(egress)
    assert line["session"] == headers["x-claude-code-session-id"][:64]


async def _lines(egress: Proxy, count: int = 1) -> list[dict[str, Any]]:
    """Return the access log once it has `count` lines; Envoy writes it behind the answer."""
    async with asyncio.timeout(60):
        while True:
            lines = [line for line in egress.log().splitlines() if line.startswith("{")]
            if len(lines) >= count:
                return [json.loads(line) for line in lines]
            await asyncio.sleep(0.1)
