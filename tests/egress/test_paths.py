"""Only the paths of the values may be called with the key, and the admin interface has no port."""

import aiohttp
import pytest

from egress import proxy
from egress.calls import call
from egress.conftest import KEY
from egress.proxy import Proxy
from egress.upstream import Upstream


@pytest.mark.requirement("H24")
@pytest.mark.parametrize(
    "path", ["/v1/files", "/v1/messages/batches", "/v1/messages/", "//v1/files", "/v1/messages/../files", "/"]
)
async def test_other_paths_are_refused_in_the_form_of_the_model_api(
    egress: Proxy, model: Upstream, http: aiohttp.ClientSession, path: str
) -> None:
    answer = await call(http, egress.agents + path, json={})
    assert answer.status == 403
    assert answer.error()["type"] == "permission_error"
    assert "egress.allowedPaths" in answer.error()["message"]
    assert model.requests == []


async def test_an_escaped_slash_does_not_get_around_the_list(
    egress: Proxy, model: Upstream, http: aiohttp.ClientSession
) -> None:
    assert (await call(http, f"{egress.agents}/v1/messages%2f..%2ffiles", json={})).status == 400
    assert model.requests == []


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages?beta=true", "/v1/messages/count_tokens"])
async def test_the_default_paths_pass(egress: Proxy, model: Upstream, http: aiohttp.ClientSession, path: str) -> None:
    assert (await call(http, egress.agents + path, json={})).status == 200
    assert model.requests[0].path_qs == path


async def test_an_empty_list_opens_every_path(model: Upstream, http: aiohttp.ClientSession) -> None:
    async with proxy.running(KEY, model.address(), allowedPaths=[]) as running:
        assert (await call(http, f"{running.agents}/v1/files", method="GET")).status == 200


async def test_an_upstream_that_is_down_is_an_error_that_clients_can_read(http: aiohttp.ClientSession) -> None:
    async with proxy.running(KEY, {"host": "localhost", "port": 1, "tls": False}) as running:
        answer = await call(http, f"{running.agents}/v1/messages", json={})
    assert answer.status == 503
    assert answer.error()["type"] == "api_error"


async def test_the_status_port_says_ready_and_counts(egress: Proxy, http: aiohttp.ClientSession) -> None:
    assert (await call(http, f"{egress.status}/ready", method="GET")).status == 200
    metrics = await call(http, f"{egress.status}/metrics", method="GET")
    assert "envoy_cluster_upstream_rq_total" in metrics.body


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/config_dump"), ("GET", "/certs"), ("POST", "/quitquitquit"), ("POST", "/ready")]
)
async def test_the_status_port_gives_nothing_else_of_the_admin_interface(
    egress: Proxy, http: aiohttp.ClientSession, method: str, path: str
) -> None:
    assert (await call(http, egress.status + path, method=method)).status == 404
