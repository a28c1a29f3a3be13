"""The connection to the model API is encrypted and checked; a server that is not the one named gets nothing."""

import ssl
import subprocess
from pathlib import Path

import aiohttp
import pytest

from egress import proxy, upstream
from egress.calls import call
from egress.conftest import KEY


def certificate(folder: Path, name: str) -> Path:
    """Make a self-signed certificate for `name`; return a PEM file with key and certificate."""
    pem, key = folder / "server.pem", folder / "server.key"
    subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
    command = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject)
    subprocess.run([*command, "-keyout", str(key), "-out", str(pem)], check=True, capture_output=True)
    pem.write_text(pem.read_text() + key.read_text())
    return pem


def server_context(pem: Path) -> ssl.SSLContext:
    """Return the TLS side of the server that owns the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def test_a_server_with_the_right_name_and_authority_is_called(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    pem = certificate(tmp_path, "localhost")
    async with upstream.serving(server_context(pem)) as model:
        settings = model.address(tls=True, caFile=str(pem))
        async with proxy.running(KEY, settings) as running:
            assert (await call(http, f"{running.agents}/v1/messages", json={})).status == 200
        assert model.requests[0].headers["x-api-key"] == KEY


@pytest.mark.requirement("H33")
async def test_a_server_with_another_name_gets_no_key(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    pem = certificate(tmp_path, "elsewhere.example.com")
    async with upstream.serving(server_context(pem)) as model:
        settings = model.address(tls=True, caFile=str(pem))
        async with proxy.running(KEY, settings) as running:
            assert (await call(http, f"{running.agents}/v1/messages", json={})).status == 503
        assert model.requests == []


@pytest.mark.requirement("H33")
async def test_a_server_of_an_unknown_authority_gets_no_key(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    (tmp_path / "other").mkdir()
    trusted, presented = certificate(tmp_path / "other", "localhost"), certificate(tmp_path, "localhost")
    async with upstream.serving(server_context(presented)) as model:
        settings = model.address(tls=True, caFile=str(trusted))
        async with proxy.running(KEY, settings) as running:
            assert (await call(http, f"{running.agents}/v1/messages", json={})).status == 503
        assert model.requests == []
