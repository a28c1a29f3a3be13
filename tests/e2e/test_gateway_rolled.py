"""Gateways are replaced and killed under clients that talk: asked from inside the cluster, by the gateway's Service."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import manifests, programs
from e2e.api import DEPLOYMENTS, PODS, Json
from e2e.gateway import Gateway, pods
from e2e.lab import Labs
from e2e.operator_pod import NAMESPACE, is_rolled_out
from e2e.stage import Stage
from e2e.waiting import wait_for

SECONDS = 60
DEPLOYMENT = "agentsessions-gateway"
URL = f"http://{DEPLOYMENT}.{NAMESPACE}.svc.cluster.local"
PERSISTENT = Path(__file__).parent / "inside" / "persistent.py"
NOTICED_SECONDS = 10
"""How long a client may still be sent to a gateway that was killed: until every node has heard of it."""


@pytest.fixture(scope="module")
def stage(labs: Labs, gateway: Gateway) -> Iterator[Stage]:
    """One session, and a pod from which it is talked to."""
    with labs() as lab:
        found = Stage.built(lab, gateway)
        found.pool(replicas=1)
        found.session("alice")
        found.running("alice")
        lab.neighbour("client")
        yield found


def client(stage: Stage, seconds: int) -> Json:
    """Return the configuration of a persistent client; its turns outlast a gateway's draining."""
    steps = [manifests.bash(f"sleep 1; echo {number}") for number in range(20)]
    path = f"{URL}/v1/namespaces/{stage.lab.namespace}/sessions/alice"
    prompt = manifests.prompt(*steps, manifests.say("the end"))
    return {"url": path, "token": stage.token, "prompt": prompt, "seconds": seconds}


def check_whole(turns: list[Json]) -> None:
    """Nothing that the session said is missing or came twice, over all turns."""
    for turn in turns:
        assert turn["events"][-1][1] == "done", turn
    numbers = [number for turn in turns for number, _ in turn["events"]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@pytest.mark.requirement("H11", "H36", "K02")
def test_a_rollout_of_the_gateways_costs_no_request_and_no_event(stage: Stage) -> None:
    lab, place = stage.lab, programs.Place(stage.lab.namespace, "client")
    before = set(pods(lab.api))
    with programs.started(lab.terminal, place, PERSISTENT, client(stage, SECONDS)) as program:
        began = time.monotonic()
        lab.terminal.kubectl("rollout", "restart", f"deployment/{DEPLOYMENT}", "-n", NAMESPACE)
        wait_for(lab.api, DEPLOYMENTS, NAMESPACE, DEPLOYMENT, is_rolled_out, "the rollout")
        for name in before:
            wait_for(lab.api, PODS, NAMESPACE, name, lambda pod: pod is None, "the end of an old gateway")
        took = time.monotonic() - began
        seen = program.line()
    assert took < SECONDS, "the client had stopped before the rollout was over"
    assert not before & set(pods(lab.api))
    assert seen["failures"] == []
    assert seen["requests"] > SECONDS
    check_whole(seen["turns"])
    assert sum(turn["cuts"] for turn in seen["turns"]) > 0, "no stream was on a gateway that was replaced"


@pytest.mark.requirement("H11", "K02")
def test_a_gateway_that_is_killed_costs_no_event(stage: Stage) -> None:
    lab, place = stage.lab, programs.Place(stage.lab.namespace, "client")
    with programs.started(lab.terminal, place, PERSISTENT, client(stage, SECONDS)) as program:
        time.sleep(5)
        doomed, killed = pods(lab.api)[0], time.time()
        lab.api.delete(PODS, NAMESPACE, doomed, gracePeriodSeconds=0)
        wait_for(lab.api, DEPLOYMENTS, NAMESPACE, DEPLOYMENT, is_rolled_out, "a gateway in its place")
        seen = program.line()
    late = [one for one in seen["failures"] if one["at"] > killed + NOTICED_SECONDS]
    assert late == []
    check_whole(seen["turns"])
    print(f"requests: {seen['requests']}, failed until the kill was noticed: {len(seen['failures'])}")
