"""Gateways are replaced and killed under clients that talk: asked from inside the cluster, by the gateway's Service."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from e2e import manifests, programs
from e2e.api import DEPLOYMENTS, PODS, Json
from e2e.gateway import Gateway, pods
from e2e.lab import Lab, Labs
from e2e.operator_pod import NAMESPACE, is_rolled_out
from e2e.stage import Stage
from e2e.waiting import wait_for

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


def client(stage: Stage) -> Json:
    """Return the configuration of a persistent client; its turns outlast a gateway's draining."""
    steps = [manifests.bash(f"sleep 1; echo {number}") for number in range(25)]
    path = f"{URL}/v1/namespaces/{stage.lab.namespace}/sessions/alice"
    prompt = manifests.prompt(*steps, manifests.say("the end"))
    return {"url": path, "token": stage.token, "prompt": prompt}


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
    with programs.started(lab.terminal, place, PERSISTENT, client(stage)) as program:
        began = time.monotonic()
        lab.terminal.kubectl("rollout", "restart", f"deployment/{DEPLOYMENT}", "-n", NAMESPACE)
        wait_for(lab.api, DEPLOYMENTS, NAMESPACE, DEPLOYMENT, is_rolled_out, "the rollout")
        for name in before:
            wait_for(lab.api, PODS, NAMESPACE, name, lambda pod: pod is None, "the end of an old gateway")
        took = time.monotonic() - began
        seen = program.end()
    assert not before & set(pods(lab.api))
    assert seen["failures"] == []
    assert seen["requests"] > took
    check_whole(seen["turns"])
    assert sum(turn["cuts"] for turn in seen["turns"]) > 0, "no stream was on a gateway that was replaced"


@pytest.mark.requirement("H11", "K02")
def test_gateways_that_are_killed_cost_no_event(stage: Stage) -> None:
    """One after the other, so that the stream's own is among them."""
    lab, place, kills = stage.lab, programs.Place(stage.lab.namespace, "client"), []
    with programs.started(lab.terminal, place, PERSISTENT, client(stage)) as program:
        for doomed in pods(lab.api):
            time.sleep(5)
            kills.append(time.time())
            lab.api.delete(PODS, NAMESPACE, doomed, gracePeriodSeconds=0)
            wait_for(lab.api, DEPLOYMENTS, NAMESPACE, DEPLOYMENT, partial(is_made_up_for, lab, doomed), "another")
        time.sleep(NOTICED_SECONDS)
        seen = program.end()
    late = [one for one in seen["failures"] if not any(0 <= one["at"] - kill < NOTICED_SECONDS for kill in kills)]
    assert late == []
    check_whole(seen["turns"])
    assert sum(turn["cuts"] for turn in seen["turns"]) > 0, "no stream was on a gateway that was killed"
    print(f"requests: {seen['requests']}, failed until the kills were noticed: {len(seen['failures'])}")


def is_made_up_for(lab: Lab, doomed: str, deployment: Json | None) -> bool:
    """Return whether there are as many gateways as there should be, without the one that was killed."""
    return is_rolled_out(deployment) and len({*pods(lab.api)} - {doomed}) == 2
