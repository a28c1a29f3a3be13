"""`python -m bench.hosts`: sessions on a shared host, and the gateway beside direct calls; prints Markdown.

The sections are those of docs/benchmarks.md. Requests are sent from the gateway's own pod, so that both ways leave from
the same place: the difference is Envoy and the directory. Idle streams are held from a pod of their own, through the
gateway's Service.
"""

import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cluster
from bench import measure, pages, report, ring
from bench.report import percentile
from demo.images import Images
from e2e import install, manifests, programs
from e2e.api import PODS, POOLS, SESSIONS, Api, Json, condition
from e2e.forwarding import forwarded
from e2e.gateway import fetch, pods, reached
from e2e.operator_pod import NAMESPACE, Operator, is_ready, parse_metrics
from e2e.programs import Place
from e2e.stage import POOL_UID
from e2e.terminal import Terminal
from e2e.tokens import HEADER, Signer
from e2e.waiting import wait_for

INSIDE = Path(__file__).parent / "inside"
STEPS = (1, 5, 10, 20)
REQUESTS, AT_ONCE, ROUNDS = 1000, (1, 16), 3
SILENCE_SECONDS = 60
SETTLE_SECONDS = 10
"""Until a process that has just started is at rest, and until Envoy's figures are fresh."""

STREAMS = (("events", "streams of events", 1000), ("ws", "WebSockets", 1000))


def main() -> None:
    """Prepare the cluster, measure, print what came out."""
    _say("simulating hosts that come and go")
    sections = [ring.section()]
    _say("preparing the cluster")
    provider, images = cluster.provider(), install.build_images()
    terminal, api = _prepared(provider, images)
    where = pages.machine(report.facts(api, provider.name, ""))
    with measure.namespace(api, f"bench-{secrets.token_hex(3)}") as space:
        sections += _measured(api, terminal, images, space, where)
    print("\n\n".join(sections))
    api.close()


def _measured(api: Api, terminal: Terminal, images: Images, space: str, where: str) -> list[str]:
    """Measure in a namespace; return the sections."""
    bearer = _peopled(api, terminal, space)
    _say("starting sessions on one host")
    host = pages.on_one_host(_fill(api, terminal, space), where)
    _say("asking by the gateway and directly")
    requests = pages.beside_direct_calls(_compare(api, terminal, space, bearer), where)
    api.create(manifests.server_pod(space, "client", images.reference("standin")))
    wait_for(api, PODS, space, "client", is_ready, "the client")
    rows = []
    for kind, name, count in STREAMS:
        _say(f"holding {count} {name}")
        rows.append({"name": name} | _hold(api, terminal, space, bearer, kind, count))
    return [host, requests, pages.idle_streams(rows, where)]


def _say(text: str) -> None:
    """Tell how far it is; the result alone goes to standard output."""
    print(f"{text} …", file=sys.stderr, flush=True)


def _peopled(api: Api, terminal: Terminal, space: str) -> Json:
    """Make a pool of one host, and somebody who may talk; return the header that says who."""
    api.apply(manifests.account(space, "bench"))
    api.apply(manifests.editor(space, "bench"))
    api.apply(manifests.pool(space, replicas=1, sessionsPerHost=max(STEPS)))
    wait_for(api, POOLS, space, "chat", _is_ready, "a host")
    with reached(api, terminal) as ways:
        return {"Authorization": f"Bearer {ways.token(space, 'bench', 7200)}"}


def _prepared(provider: cluster.Provider, images: Images) -> tuple[Terminal, Api]:
    """Return a cluster with the release installed."""
    install.provide(provider, images)
    terminal, api = Terminal(provider.kubeconfig()), Api(provider.kubeconfig())
    install.install_stand_in(terminal, api, images)
    install.install_operator(terminal, Operator(api, terminal), install.values(images))
    return terminal, api


def _fill(api: Api, terminal: Terminal, space: str) -> list[Json]:
    """Add sessions to one host; return start times in seconds and memory in MiB, before the first and at each step."""
    rows: list[Json] = [{"sessions": 0} | _memory(api, terminal, space)]
    for count in STEPS:
        seconds = [_start(api, space, f"s-{number}") for number in range(rows[-1]["sessions"], count)]
        starts = {"startP50": percentile(seconds, 0.5), "startMax": max(seconds)}
        rows.append({"sessions": count} | starts | _memory(api, terminal, space))
    return rows


def _start(api: Api, space: str, name: str) -> float:
    """Start a session; return how long it took, in seconds."""
    began = time.monotonic()
    api.apply(manifests.lasting(space, name))
    wait_for(api, SESSIONS, space, name, _is_ready, "its host")
    return time.monotonic() - began


def _memory(api: Api, terminal: Terminal, space: str) -> Json:
    """Return what the host holds in MiB, its sessions' processes included; shared pages count in parts (PSS)."""
    time.sleep(SETTLE_SECONDS)
    pod = _host(api, space)["metadata"]["name"]
    script = "cat /proc/[0-9]*/smaps_rollup 2>/dev/null | awk '/^Pss:/{s+=$2} END{print s}'"
    return {"hostMiB": int(terminal.execute(space, pod, "sh", "-c", script)) // 1024}


def _sample(page: str, name: str) -> float:
    """Return the one sample of that name on a Prometheus page."""
    return next(sample.value for sample in parse_metrics(page) if sample.name == name)


def _compare(api: Api, terminal: Terminal, space: str, bearer: Json) -> list[Json]:
    """Ask the same session by the gateway and directly, in turns; return what the gateway adds, and what remains."""
    place = Place(NAMESPACE, pods(api)[0], "directory", "python")
    uid = _session(api, space, "s-0")["metadata"]["uid"]
    host = _host(api, space)
    signer = Signer.of(api, terminal, host)
    ways: dict[str, tuple[str, Callable[[], Json]]] = {
        "direct": (f"http://{host['status']['podIP']}:8000/sessions/{uid}", lambda: _shown(signer, host, uid)),
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


def _shown(signer: Signer, host: Json, uid: str) -> Json:
    """Return the header by which a host knows the gateway; it lasts for a round."""
    now = int(time.time())
    return {HEADER: signer.token(host["metadata"]["uid"], uid, iat=now, exp=now + 110)}


def _hold(api: Api, terminal: Terminal, space: str, bearer: Json, kind: str, count: int) -> Json:
    """Hold idle streams through the gateways; return how many lived, and the memory in MiB that they added."""
    base = f"http://agentsessions-gateway.{NAMESPACE}.svc.cluster.local/v1/namespaces/{space}/sessions"
    urls = [f"{base}/s-{number}" for number in range(max(STEPS))]
    config = {"urls": urls, "headers": bearer, "count": count, "seconds": SILENCE_SECONDS, "kind": kind}
    before = _weights(api, terminal, space)
    with programs.started(terminal, Place(space, "client"), INSIDE / "streams.py", config) as program:
        opened = program.line()["opened"]
        during = _weights(api, terminal, space)
        alive = program.line()["open"]
    grown: dict[str, Any] = {name: during[name] - before[name] for name in before}
    return {"count": count, "opened": opened, "open": alive, "seconds": SILENCE_SECONDS, "addedMiB": grown}


def _weights(api: Api, terminal: Terminal, space: str) -> dict[str, float]:
    """Return what Envoys and directories use, in MiB, and the host without its sessions' processes."""
    time.sleep(SETTLE_SECONDS)
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
