"""Calls to hosts over real HTTP: what comes back, and what each refusal means."""

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentsessions.api.host import Activation, Scope
from agentsessions.hosts.client import HostAddress, HostClient
from agentsessions.hosts.errors import (
    Draining,
    HostError,
    HostFull,
    Misdirected,
    Refused,
    TranscriptMissing,
    Unreachable,
)
from agentsessions.hosts.tokens import Signer
from unit.hosts.fakehost import KEYS, FakeHost, serving
from unit.make import UID

GIVEN = Activation.model_validate({"version": 1, "session_id": UID, "namespace": "team-a", "name": "talk"})


async def test_a_session_is_given_read_suspended_and_taken_back() -> None:
    host = FakeHost()
    async with serving(host) as client:
        assert str((await client.activate(host.address, GIVEN)).session_id) == UID
        assert (await client.get(host.address, UID)).name == "talk"
        assert (await client.suspend(host.address, UID, patient=True)).name == "talk"
        assert [str(one.session_id) for one in (await client.snapshot(host.address)).sessions] == [UID]
        await client.delete(host.address, UID, "keep")
        await client.delete(host.address, UID, "delete", archive=True)
    assert host.deleted == [(UID, "keep"), (UID, "delete")]
    assert host.archived == [UID]
    assert host.given == [GIVEN]
    assert host.scopes == ["host", "session", "host", "host", "host", "host"]


@pytest.mark.parametrize(
    ("slug", "status", "kind"),
    [
        ("host-full", 507, HostFull),
        ("draining", 503, Draining),
        ("transcript-missing", 409, TranscriptMissing),
        ("bad-activation", 400, Refused),
        ("another-conflict", 409, Refused),
        ("broken", 500, Unreachable),
    ],
)
async def test_every_refusal_has_an_error_of_its_own(slug: str, status: int, kind: type[HostError]) -> None:
    host = FakeHost(refusal=(slug, status))
    async with serving(host) as client:
        with pytest.raises(kind) as caught:
            await client.activate(host.address, GIVEN)
    assert (caught.value.slug, caught.value.detail) == (slug, f"about {slug}")


@pytest.mark.requirement("K02")
async def test_who_does_not_lead_changes_nothing_on_a_host() -> None:
    host = FakeHost()
    async with serving(host) as client:
        client.may_change = lambda: False
        for call in (
            client.activate(host.address, GIVEN),
            client.suspend(host.address, UID, patient=False),
            client.delete(host.address, UID, "delete"),
        ):
            with pytest.raises(Unreachable, match="lead"):
                await call
    assert (host.given, host.deleted) == ([], [])


async def test_another_pod_at_the_address_is_noticed_by_it() -> None:
    host = FakeHost()
    async with serving(host) as client:
        stale = HostAddress(host.pod, "uid-of-a-pod-that-was", host.address.ip, host.address.port)
        with pytest.raises(Misdirected):
            await client.activate(stale, GIVEN)
    assert host.given == []


async def test_nobody_at_the_address_is_unreachable() -> None:
    host = FakeHost()
    async with serving(host):
        address = host.address
    async with aiohttp.ClientSession() as http:
        with pytest.raises(Unreachable):
            await HostClient(http, Signer(KEYS)).get(address, UID)


@pytest.mark.parametrize("answer", ["<html>", "[1]", '{"phase": "Dancing"}'])
async def test_an_answer_that_is_none_of_a_hosts_is_unreachable(answer: str) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text=answer)

    app = web.Application()
    app.add_routes([web.route("*", "/{tail:.*}", handler)])
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        client, address = HostClient(http, Signer(KEYS)), HostAddress("h", "u", "127.0.0.1", server.port or 0)
        with pytest.raises(Unreachable):
            await client.activate(address, GIVEN)
        with pytest.raises(Unreachable):
            await client.snapshot(address)


async def test_a_host_cannot_send_its_caller_elsewhere() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"})

    app = web.Application()
    app.add_routes([web.route("*", "/{tail:.*}", handler)])
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        client, address = HostClient(http, Signer(KEYS)), HostAddress("h", "u", "127.0.0.1", server.port or 0)
        with pytest.raises(Unreachable, match="307"):
            await client.activate(address, GIVEN)
        with pytest.raises(Unreachable, match="307"):
            async with client.events(address, Scope.WATCH):
                pass


def test_addresses_of_both_families_make_urls() -> None:
    assert HostAddress("h", "u", "10.0.0.7").url == "http://10.0.0.7:8000"
    assert HostAddress("h", "u", "fd00::7").url == "http://[fd00::7]:8000"
