"""The operator's own HTTP server: probes that tell the truth, and metrics."""

import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from agentsessions import metrics
from agentsessions.handlers.server import Health, application, serve


@pytest.fixture
def health() -> Health:
    return Health(alive=lambda: True)


@pytest.fixture
async def http(health: Health) -> AsyncIterator["TestClient[web.Request, web.Application]"]:
    async with TestClient(TestServer(application(health))) as client:
        yield client


@pytest.mark.parametrize(
    ("alive", "ready", "healthz", "readyz"),
    [
        pytest.param(True, True, 200, 200, id="well"),
        pytest.param(True, False, 200, 503, id="not-ready-yet"),
        pytest.param(False, True, 503, 503, id="a-watch-is-stale"),
        pytest.param(False, False, 503, 503, id="neither"),
    ],
)
async def test_probes(
    alive: bool,
    ready: bool,
    healthz: int,
    readyz: int,
    health: Health,
    http: "TestClient[web.Request, web.Application]",
) -> None:
    health.alive, health.ready = (lambda: alive), ready
    assert (await http.get("/healthz")).status == healthz
    assert (await http.get("/readyz")).status == readyz


async def test_a_probe_that_fails_says_why(health: Health, http: "TestClient[web.Request, web.Application]") -> None:
    health.alive = lambda: False
    assert "a watch is stale" in await (await http.get("/healthz")).text()


async def test_the_probe_asks_anew_each_time(health: Health, http: "TestClient[web.Request, web.Application]") -> None:
    answers = [True, False, True]
    health.alive = lambda: answers.pop(0)
    assert [(await http.get("/healthz")).status for _ in range(3)] == [200, 503, 200]


async def test_metrics_can_be_parsed_and_all_are_there(http: "TestClient[web.Request, web.Application]") -> None:
    metrics.build_info.labels("0.0.0").set(1)
    response = await http.get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(await response.text())}
    assert response.content_type == "text/plain"
    named = {name for name in families if not name.endswith("_created")}  # the library adds these to counters
    assert named == {family.name for family in metrics.REGISTRY.collect()}
    assert all(family.documentation for family in families.values())


async def test_anything_else_is_not_found(http: "TestClient[web.Request, web.Application]") -> None:
    assert (await http.get("/")).status == 404
    assert (await http.post("/healthz")).status == 405


async def test_the_server_listens_until_it_is_stopped(health: Health) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    runner = await serve(health, port)
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/healthz") as response:
        assert response.status == 200
    await runner.cleanup()
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))
