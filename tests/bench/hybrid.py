"""`python -m bench.hybrid`: how long sessions take to wake and to fall asleep, by store and length; prints Markdown."""

import asyncio
import json
import secrets
import sys
import time
from pathlib import Path

import cluster
from bench import measure, pages, plain, report
from bench.report import percentile
from e2e import install, manifests, programs, stores
from e2e.api import PODS, SESSIONS, Api, Json
from e2e.gateway import Client, reached, read_events
from e2e.lab import Lab
from e2e.operator_pod import Operator, is_ready
from e2e.stores import Store
from e2e.terminal import Terminal
from e2e.waiting import wait_for
from e2e.witness import Witness

LENGTHS, ROUNDS = (10, 200, 1000), 3
FILES_MB = 100
IDLE = 5
SECRETS = "/var/run/store"
INSIDE = Path(__file__).parent / "inside"
AGENT_PYTHON = "/opt/agentsessions/bin/python"


def main() -> None:
    """Prepare the cluster, measure, print what came out."""
    _say("resuming with the SDK alone, outside of the cluster")
    alone = plain.measure(LENGTHS, ROUNDS)
    provider, images = cluster.provider(), install.build_images()
    _say("preparing the cluster")
    install.provide(provider, images)
    terminal, api = Terminal(provider.kubeconfig()), Api(provider.kubeconfig())
    operator = Operator(api, terminal)
    install.install_stand_in(terminal, api, images)
    install.install_operator(terminal, operator, install.values(images))
    where = pages.machine(report.facts(api, provider.name, ""))
    with measure.namespace(api, f"bench-{secrets.token_hex(3)}") as space, reached(api, terminal) as ways:
        lab = Lab(space, api, terminal, operator, Witness(api), images)
        api.apply(manifests.account(space, "bench"))
        api.apply(manifests.editor(space, "bench"))
        token = ways.token(space, "bench", 7200)
        found = [_of_store(lab, kind(lab), ways.url, token) for kind in STORES]
        archive = _archive(lab, stores.s3_store(lab), ways.url, token)
    print(pages.waking(found, alone, archive, where))
    stores.remove(api)
    api.close()


STORES = (stores.redis_store, stores.postgres_store, stores.s3_store)


def _say(text: str) -> None:
    print(f"{text} …", file=sys.stderr, flush=True)


def _of_store(lab: Lab, store: Store, base: str, token: str) -> Json:
    """Return the times of one store's session: the first wake, wakes by length, and how long it takes to sleep."""
    name = f"bench-{store.kind.name}"
    _say(f"waking a session from {store.kind.type}")
    spec = {"sessionStore": store.given_to(lab), "idleTimeoutSeconds": IDLE}
    session = lab.api.apply(manifests.hybrid(lab.namespace, name, **spec))
    lab.reason(name, "Asleep")
    client = Client(base, f"/v1/namespaces/{lab.namespace}/sessions/{name}", token)
    cold = asyncio.run(_first_word(client))
    _asleep(lab, name)
    _writer(lab, store)
    rows = []
    for turns in LENGTHS:
        long = _lengthen(lab, store, str(session["metadata"]["uid"]), turns)
        seconds = []
        for _ in range(ROUNDS):
            seconds.append(asyncio.run(_first_word(client)))
            _asleep(lab, name)
        rows.append({"turns": turns, "bytes": long["bytes"], "p50": percentile(seconds, 0.5), "max": max(seconds)})
    found = {"store": store.kind.type, "cold": cold, "rows": rows, "sleep": _put_away(lab, client, name)}
    _say(json.dumps(found))  # of a run that is ended early, this is what it came to
    return found


async def _first_word(client: Client) -> float:
    """Send a message; return the seconds until the agent's first event."""
    began, first = time.monotonic(), 0.0
    body = {"prompt": manifests.prompt(manifests.say("ok"))}
    async with client.call("POST", "/messages", json=body) as answer:
        assert answer.status == 200, await answer.text()
        async for event in read_events(answer):
            if event.kind == "message" and event.data["type"] == "assistant" and not first:
                first = time.monotonic() - began
    return first


def _put_away(lab: Lab, client: Client, name: str) -> float:
    """Wake a session, suspend it, and return the seconds until it says that it is suspended."""
    asyncio.run(_first_word(client))
    began = time.monotonic()
    lab.api.patch(SESSIONS, lab.namespace, name, {"spec": {"suspended": True}})
    lab.reason(name, "Suspended")
    return time.monotonic() - began


def _asleep(lab: Lab, name: str) -> None:
    """Wait until a session sleeps and its pods are gone."""
    for pod in lab.pods(lab.reason(name, "Asleep")):
        lab.gone_pod(pod)


def _archive(lab: Lab, store: Store, base: str, token: str) -> Json:
    """Return the times of a workspace that is packed and unpacked."""
    _say(f"packing {FILES_MB} MB")
    spec = {"sessionStore": store.given_to(lab), "workspace": {"archive": store.archive()}, "idleTimeoutSeconds": IDLE}
    lab.api.apply(manifests.hybrid(lab.namespace, "packer", **spec))
    lab.reason("packer", "Asleep")
    client = Client(base, f"/v1/namespaces/{lab.namespace}/sessions/packer", token)
    make = f"for i in $(seq {FILES_MB}); do head -c 500000 /dev/urandom > f$i; head -c 500000 /dev/zero >> f$i; done"
    asyncio.run(client.say(manifests.bash(make), manifests.say("made")))
    began = time.monotonic()
    lab.api.patch(SESSIONS, lab.namespace, "packer", {"spec": {"suspended": True}})
    packed = lab.reason("packer", "Suspended")
    seconds = time.monotonic() - began
    lab.api.patch(SESSIONS, lab.namespace, "packer", {"spec": {"suspended": None}})
    _asleep(lab, "packer")
    return {
        "megabytes": FILES_MB,
        "packed": packed["status"]["archive"]["size"],
        "sleep": seconds,
        "wake": asyncio.run(_first_word(client)),
    }


def _writer(lab: Lab, store: Store) -> None:
    """Start a pod of the agent image that may use the store."""
    if lab.api.get(PODS, lab.namespace, f"writer-{store.kind.name}") is not None:
        return
    pod = manifests.server_pod(lab.namespace, f"writer-{store.kind.name}", lab.images.reference("agent"))
    (container,) = pod["spec"]["containers"]
    container["command"] = [AGENT_PYTHON, "-m", "http.server", "8080", "--directory", "/tmp"]
    container["volumeMounts"] = [{"name": "store", "mountPath": SECRETS}]
    pod["spec"]["volumes"] = [{"name": "store", "secret": {"secretName": store.secret_name}}]
    lab.api.create(pod)
    wait_for(lab.api, PODS, lab.namespace, f"writer-{store.kind.name}", is_ready, "the writer")


def _lengthen(lab: Lab, store: Store, session_id: str, turns: int) -> Json:
    """Make a stored conversation so many turns long."""
    spec = store.session_store()
    settings = {"type": spec["type"], "prefix": f"agentsessions/{lab.namespace}", "secrets": SECRETS}
    settings |= {"s3": spec["s3"]} if "s3" in spec else {}
    config = {"settings": settings, "sessionId": session_id, "turns": turns}
    place = programs.Place(lab.namespace, f"writer-{store.kind.name}", "", AGENT_PYTHON)
    return programs.run(lab.terminal, place, INSIDE / "lengthen.py", config)


if __name__ == "__main__":
    main()
