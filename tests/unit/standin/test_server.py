"""The server, over a real socket."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientSession, web

from standin.conversation import digest
from standin.server import SESSION_HEADER, make_app

STEPS = [
    {
        "thinking": "hm",
        "text": "hello",
        "tools": [{"tool": "A", "input": {"a": 1}}, {"tool": "B"}],
        "usage": {"input": 7, "output": 5},
    }
]


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    """Return a client of a stand-in on a free port."""
    runner = web.AppRunner(make_app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
        yield session
    await runner.cleanup()


def _request(*steps: dict[str, Any], stream: bool = True) -> dict[str, Any]:
    prompt = f"Do it. <<script {json.dumps(steps)} script>>"
    return {"model": "m", "stream": stream, "tools": [{"name": "A"}], "messages": [{"role": "user", "content": prompt}]}


async def _events(client: ClientSession, body: dict[str, Any]) -> list[dict[str, Any]]:
    async with client.post("/v1/messages?beta=true", json=body) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        raw = await response.text()
    lines = [event.split("\n", 1) for event in raw.strip().split("\n\n")]
    events = [json.loads(data.removeprefix("data: ")) for _, data in lines]
    assert [name.removeprefix("event: ") for name, _ in lines] == [event["type"] for event in events]
    return events


async def test_a_stream_carries_every_block_between_its_start_and_its_stop(client: ClientSession) -> None:
    events = await _events(client, _request(*STEPS))
    block = ["content_block_start", "content_block_delta", "content_block_stop"]
    thinking = ["content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"]
    assert [event["type"] for event in events] == [
        "message_start",
        *thinking,
        *block,
        *block,
        *block,
        "message_delta",
        "message_stop",
    ]
    assert events[-2]["delta"]["stop_reason"] == "tool_use"
    assert (events[-2]["usage"]["input_tokens"], events[-2]["usage"]["output_tokens"]) == (7, 5)


async def test_without_streaming_the_message_is_whole(client: ClientSession) -> None:
    async with client.post("/v1/messages", json=_request({"text": "hello"}, stream=False)) as response:
        message = await response.json()
    assert (message["content"], message["stop_reason"]) == ([{"type": "text", "text": "hello"}], "end_turn")


async def test_slow_text_comes_in_pieces_and_whole(client: ClientSession) -> None:
    events = await _events(client, _request({"text": "abcdefg", "slow": {"seconds": 0, "chunks": 3}}))
    pieces = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    assert pieces == ["abc", "def", "g"]


async def test_an_error_is_given_as_often_as_it_says_for_each_session(client: ClientSession) -> None:
    body = _request({"error": {"status": 529, "times": 2, "retryAfter": 3}}, {"text": "ok"})
    statuses = []
    for session in ("a", "a", "a", "b"):
        async with client.post("/v1/messages", json=body, headers={SESSION_HEADER: session}) as response:
            statuses.append((response.status, response.headers.get("retry-after")))
    assert statuses == [(529, "3"), (529, "3"), (200, None), (529, "3")]


async def test_a_cut_answer_breaks_the_connection(client: ClientSession) -> None:
    with pytest.raises(ClientPayloadError):
        await _events(client, _request({"text": "half", "cut": True}))


async def test_a_bad_script_is_a_bad_request_that_says_why(client: ClientSession) -> None:
    async with client.post("/v1/messages", json=_request({"tetx": "typo"})) as response:
        answer = await response.json()
    assert (response.status, answer["error"]["type"]) == (400, "invalid_request_error")
    assert "tetx" in answer["error"]["message"]


async def test_requests_are_counted_by_session_and_never_shown(client: ClientSession) -> None:
    for session in ("a", "a", "b"):
        headers = {SESSION_HEADER: session}
        async with client.post("/v1/messages", json=_request({"text": "confidential"}), headers=headers) as response:
            await response.read()
    async with client.get("/_requests") as response:
        seen = await response.json()
    prompts = [digest(_request({"text": "confidential"})["messages"][0]["content"])]
    one = {"requests": 1, "errors": 0, "messages": 1, "answers": 0, "prompts": prompts}
    twice, once = (
        {"begun": {prompts[0]: times}, "steps": {f"{prompts[0]} 0": times}, "askers": {prompts[0]: 1}}
        for times in (2, 1)
    )
    assert seen == {"total": 3, "sessions": {"a": one | twice | {"requests": 2}, "b": one | once}}


@pytest.mark.parametrize(("method", "path"), [("HEAD", "/api/hello"), ("GET", "/healthz")])
async def test_probes_are_answered(client: ClientSession, method: str, path: str) -> None:
    async with client.request(method, path) as response:
        assert response.status == 200


async def test_tokens_are_counted_roughly(client: ClientSession) -> None:
    async with client.post("/v1/messages/count_tokens", json={"messages": []}) as response:
        assert (await response.json())["input_tokens"] > 0
