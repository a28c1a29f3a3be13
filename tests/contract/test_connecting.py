"""How the operator finds its API server and proves who it is: service account with a changing token, or kubeconfig."""

import datetime
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from kubernetes.aio.config import incluster_config, kube_config

from agentsessions.kube.client import Kube
from agentsessions.kube.errors import Transient
from agentsessions.kube.paths import PODS
from contract.apiserver import Answer, ApiServer, api_server

EMPTY = Answer({"metadata": {}, "items": []})


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate for the loopback address, signed by itself."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    names = ("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1")
    command = ("openssl", "req", "-x509", *curve, *names, "-keyout", str(key), "-out", str(certificate))
    subprocess.run(command, check=True, capture_output=True)
    return key, certificate


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """Return the server's side of TLS; the certificate is at ca.crt."""
    key, certificate = make_certificate(tmp_path, "ca")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


class Clock:
    """The time as the token's reader sees it."""

    def __init__(self) -> None:
        self.time = datetime.datetime(2026, 5, 4)

    def now(self) -> datetime.datetime:
        """Return the time."""
        return self.time


@pytest.fixture
def in_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[ApiServer], Clock]:
    """Return what makes this process look like one in a pod."""

    def enter(server: ApiServer) -> Clock:
        host, port = server.url.removeprefix("https://").split(":")
        clock = Clock()
        (tmp_path / "token").write_text("first")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
        monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
        monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
        fake = SimpleNamespace(datetime=clock, timedelta=datetime.timedelta)
        monkeypatch.setattr(incluster_config, "datetime", fake)
        return clock

    return enter


async def test_in_a_pod_the_token_is_read_again_when_it_has_changed(
    tmp_path: Path, tls: ssl.SSLContext, in_pod: Callable[[ApiServer], Clock]
) -> None:
    """A token of a service account lasts an hour; an operator lasts longer."""
    async with api_server(tls) as server:
        server.says(EMPTY, EMPTY)
        clock = in_pod(server)
        kube = await Kube.connect()
        await kube.list(PODS)
        (tmp_path / "token").write_text("second")
        clock.time += datetime.timedelta(minutes=2)
        await kube.list(PODS)
        await kube.close()
        assert [asked.headers["authorization"] for asked in server.asked] == ["bearer first", "bearer second"]


async def test_a_server_that_another_authority_vouches_for_gets_no_token(
    tmp_path: Path, tls: ssl.SSLContext, in_pod: Callable[[ApiServer], Clock]
) -> None:
    async with api_server(tls) as server:
        make_certificate(tmp_path, "ca")
        in_pod(server)
        kube = await Kube.connect()
        with pytest.raises(Transient):
            await kube.list(PODS)
        await kube.close()
        assert server.asked == []


@asynccontextmanager
async def by_kubeconfig(server: ApiServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kube]:
    """Connect as a person's machine would."""
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(kubeconfig(server.url)))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    kube = await Kube.connect()
    try:
        yield kube
    finally:
        await kube.close()


async def test_outside_of_a_pod_the_kubeconfig_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with api_server() as server, by_kubeconfig(server, tmp_path, monkeypatch) as kube:
        server.says(EMPTY)
        await kube.list(PODS)
        assert server.asked[0].headers["authorization"] == "Bearer mine"


CALLS: dict[str, Callable[[Kube], Awaitable[object]]] = {
    "GET": lambda kube: kube.list(PODS),
    "POST": lambda kube: kube.create(PODS, {"metadata": {"namespace": "n", "name": "p"}}),
    "PATCH": lambda kube: kube.apply(PODS, {"metadata": {"namespace": "n", "name": "p"}}),
    "DELETE": lambda kube: kube.delete(PODS, "n", "p"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("verb", CALLS)
async def test_a_write_is_sent_once_and_a_read_twice_since_only_the_queue_tries_for_longer(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that tries again by itself hides an outage, and keeps a worker from everything else."""
    sent = 2 if verb == "GET" else 1
    async with api_server() as server, by_kubeconfig(server, tmp_path, monkeypatch) as kube:
        server.says(*[Answer({}, 503, {"Retry-After": "0"})] * sent, EMPTY)
        with pytest.raises(Transient):
            await CALLS[verb](kube)
        assert len(server.asked) == sent


def kubeconfig(url: str) -> dict[str, object]:
    """Return a kubeconfig for a server."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "mine"}}],
    }
