"""`python -m bench.hosts`: sessions on a shared host, and the gateway against the same host without it, in one run.

Requests are sent from the gateway's own pod, so that both ways leave from the same place: the difference is Envoy and
the directory. Idle WebSockets are held from a pod of their own, through the gateway's Service.
"""

import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import cluster
from bench import measure
from bench.report import percentile
from demo.images import Images
from e2e import install, manifests, programs
from e2e.api import PODS, POOLS, SESSIONS, Api, Json, condition
from e2e.forwarding import forwarded
from e2e.gateway import fetch, key_id, pods, reached
from e2e.operator_pod import NAMESPACE, Operator, is_ready, parse_metrics
from e2e.programs import Place
from e2e.stage import POOL_UID, read_signing_key
from e2e.terminal import Terminal
from e2e.waiting import wait_for

INSIDE = Path(__file__).parent / "inside"
STEPS = (1, 5, 10, 20)
REQUESTS, AT_ONCE, ROUNDS = 1000, (1, 16), 3
SOCKETS, SILENCE_SECONDS = 1000, 60


def main() -> None:
    """Prepare the cluster, measure, print what came out as JSON."""
    provider, images = cluster.provider(), install.build_images()
    terminal, api = _prepared(provider, images)
    with measure.namespace(api, f"bench-{secrets.token_hex(3)}") as space:
        api.apply(manifests.account(space, "bench"))
        api.apply(manifests.editor(space, "bench"))
        api.apply(manifests.pool(space, replicas=1, sessionsPerHost=max(STEPS)))
        wait_for(api, POOLS, space, "chat", _is_ready, "a host")
        with reached(api, terminal) as ways:
            bearer = {"Authorization": f"Bearer {ways.token(space, 'bench')}"}
        host, requests = _fill(api, terminal, space), _compare(api, terminal, space, bearer)
        sockets = _sockets(api, terminal, images, space, bearer)
        print(json.dumps({"host": host, "requests": requests, "idleWebSockets": sockets}, indent=2))
    api.close()


def _prepared(provider: cluster.Provider, images: Images) -> tuple[Terminal, Api]:
    """Return a cluster with the release installed."""
    install.provide(provider, images)
    terminal, api = Terminal(provider.kubeconfig()), Api(provider.kubeconfig())
    install.install_stand_in(terminal, api, images)
    install.install_operator(terminal, Operator(api, terminal), install.values(images))
    return terminal, api


def _fill(api: Api, terminal: Terminal, space: str) -> list[Json]:
    """Add sessions to one host; return start times in seconds and memory in MiB after each step."""
    rows, made = [], 0
    for count in STEPS:
        seconds = []
        for number in range(made, count):
            began = time.monotonic()
            api.apply(manifests.lasting(space, f"s-{number}"))
            wait_for(api, SESSIONS, space, f"s-{number}", _is_ready, "its host")
            seconds.append(time.monotonic() - began)
        made = count
        rows.append({"sessions": count, "startP50": round(percentile(seconds, 0.5), 2)} | _memory(api, terminal, space))
    return rows


def _memory(api: Api, terminal: Terminal, space: str) -> Json:
    """Return what the host holds in MiB, its sessions' processes included; shared pages count in parts (PSS)."""
    pod = _host(api, space)["metadata"]["name"]
    script = "awk '/^Pss:/{s+=$2} END{print s}' /proc/[0-9]*/smaps_rollup"
    return {"hostMiB": int(terminal.execute(space, pod, "sh", "-c", script)) // 1024}


def _sample(page: str, name: str) -> float:
    """Return the one sample of that name on a Prometheus page."""
    return next(sample.value for sample in parse_metrics(page) if sample.name == name)


def _compare(api: Api, terminal: Terminal, space: str, bearer: Json) -> list[Json]:
    """Ask the same session by the gateway and directly, in turns; return what the gateway adds, and what remains."""
    place = Place(NAMESPACE, pods(api)[0], "directory", "python")
    uid = _session(api, space, "s-0")["metadata"]["uid"]
    host = _host(api, space)
    ways: dict[str, tuple[str, Callable[[], Json]]] = {
        "direct": (f"http://{host['status']['podIP']}:8000/sessions/{uid}", lambda: _token(api, terminal, host, uid)),
        "gateway": (f"http://127.0.0.1:8080/v1/namespaces/{space}/sessions/s-0", lambda: bearer),
    }
    rows = []
    for at_once in AT_ONCE:
        found: dict[str, list[Json]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, (url, headers) in ways.items():
                config = {"url": url, "headers": headers(), "requests": REQUESTS, "atOnce": at_once}
                found[name].append(programs.run(terminal, place, INSIDE / "load.py", config))
        rows.append({"atOnce": at_once} | {name: _figures(runs) for name, runs in found.items()})
    return rows


def _figures(runs: list[Json]) -> Json:
    """Return the best round's rate, and percentiles over all rounds in milliseconds."""
    times = [ms for run in runs for ms in run["ms"]]
    return {
        "perSecond": max(run["perSecond"] for run in runs),
        "p50Ms": percentile(times, 0.5),
        "p99Ms": percentile(times, 0.99),
    }


def _token(api: Api, terminal: Terminal, host: Json, uid: str) -> Json:
    """Return the header by which a host knows the gateway."""
    key = load_pem_private_key(read_signing_key(api), None)
    assert isinstance(key, Ed25519PrivateKey)
    now = int(time.time())
    claims = {"iss": "agentsessions.dev", "aud": host["metadata"]["uid"], "sub": uid, "scope": "session"}
    times = {"iat": now, "exp": now + 110}
    token = jwt.encode(claims | times, key, algorithm="EdDSA", headers={"kid": key_id(terminal, host)})
    return {"X-Agentsessions-Token": token}


def _sockets(api: Api, terminal: Terminal, images: Images, space: str, bearer: Json) -> Json:
    """Hold idle WebSockets through the gateways; return how many lived, and their memory in MiB."""
    api.create(manifests.server_pod(space, "client", images.reference("standin")))
    wait_for(api, PODS, space, "client", is_ready, "the client")
    base = f"http://agentsessions-gateway.{NAMESPACE}.svc.cluster.local/v1/namespaces/{space}/sessions"
    urls = [f"{base}/s-{number}/ws" for number in range(max(STEPS))]
    config = {"urls": urls, "headers": bearer, "count": SOCKETS, "seconds": SILENCE_SECONDS}
    before = _weights(api, terminal, space)
    with programs.started(terminal, Place(space, "client"), INSIDE / "sockets.py", config) as program:
        opened = program.line()["opened"]
        during = _weights(api, terminal, space)
        alive = program.line()["open"]
    grown: dict[str, Any] = {name: round(during[name] - before[name], 1) for name in before}
    return {"opened": opened, "openAfterSilence": alive, "addedMiB": grown}


def _weights(api: Api, terminal: Terminal, space: str) -> dict[str, float]:
    """Return what Envoys and directories use, in MiB, and the host without its sessions' processes."""
    out = {"envoys": 0.0, "directories": 0.0}
    for pod in pods(api):
        with forwarded(terminal, NAMESPACE, pod, 8081) as url:
            out["envoys"] += _sample(fetch(f"{url}/metrics"), "envoy_server_memory_allocated") / 2**20
        with forwarded(terminal, NAMESPACE, pod, 9001) as url:
            out["directories"] += _sample(fetch(f"{url}/metrics"), "process_resident_memory_bytes") / 2**20
    host = _host(api, space)["metadata"]["name"]
    script = "for p in $(pgrep -f 'agentrunner serve'); do awk '/^Pss:/{print $2}' /proc/$p/smaps_rollup; done"
    return out | {"host": sum(map(int, terminal.execute(space, host, "sh", "-c", script).split())) / 1024}


def _is_ready(thing: Json | None) -> bool:
    return thing is not None and condition(thing, "Ready").get("status") == "True"


def _session(api: Api, space: str, name: str) -> Json:
    found = api.get(SESSIONS, space, name)
    assert found is not None
    return found


def _host(api: Api, space: str) -> Json:
    """Return the pool's one host."""
    (pod,) = api.list(PODS, space, labelSelector=POOL_UID)
    return pod


if __name__ == "__main__":
    main()
