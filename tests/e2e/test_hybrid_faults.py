"""Faults at random moments of a Hybrid session's turns: what was acknowledged is there, once, and nothing else twice.

`AGENTSESSIONS_FAULTS` is how often each fault happens, `AGENTSESSIONS_SEED` repeats a run; the seed is printed.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import aiohttp
import pytest

import cluster
from e2e import manifests
from e2e.api import PODS
from e2e.gateway import Client, Gateway, read_events
from e2e.killing import end_operator
from e2e.lab import Labs
from e2e.sizes import size
from e2e.stage import Stage
from e2e.stores import Store, redis_store
from standin.conversation import digest

TIMES = int(os.environ.get("AGENTSESSIONS_FAULTS", size(2, 20)))
SEED = int(os.environ.get("AGENTSESSIONS_SEED", random.randrange(2**32)))
LONGEST = 3.0
"""Seconds after a message within which the fault happens; the turn itself takes two."""

Fault = Callable[["Scene"], None]


@dataclass
class Scene:
    """One session, and what became of its messages."""

    stage: Stage
    store: Store
    provider: cluster.Provider
    name: str
    sent: int = 0
    acknowledged: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)

    def pod(self) -> str:
        """Return the session's pod, or nothing."""
        return str(self.stage.lab.session(self.name)["status"].get("host", {}).get("pod", ""))


@pytest.fixture(scope="module")
def stage(labs: Labs, gateway: Gateway) -> Iterator[Stage]:
    """A namespace with somebody in it who may talk."""
    with labs(ends_operator=True) as lab:
        yield Stage.built(lab, gateway)


def pod_deleted(scene: Scene) -> None:
    """The pod is gone at once, with its disk."""
    if pod := scene.pod():
        scene.stage.lab.api.delete(PODS, scene.stage.lab.namespace, pod, gracePeriodSeconds=0)


def host_killed(scene: Scene) -> None:
    """The host's process dies; its container is started again."""
    _in_pod(scene, "pkill -9 -f '[a]gentrunner serve' || true")


def cli_killed(scene: Scene) -> None:
    """The session's CLI dies."""
    _in_pod(scene, "pkill -9 -f '[_]bundled/claude' || true")


def store_killed(scene: Scene) -> None:
    """The store's pod is gone at once; the next one serves what is on the volume."""
    scene.store.kill()


def operator_killed(scene: Scene) -> None:
    """The operator dies."""
    end_operator(scene.stage.lab.operator, scene.stage.lab.api, scene.provider)


def _in_pod(scene: Scene, command: str) -> None:
    pod = scene.pod()
    if pod:
        scene.stage.lab.execute(pod, "sh", "-c", command)


async def say(scene: Scene, client: Client) -> None:
    """Send a message until it is known what became of it, as a careful client does: always under the same key."""
    scene.sent += 1
    text = f"{scene.name} {scene.sent}: " + manifests.prompt(manifests.bash("sleep 2"), manifests.say("ok"))
    outcome = ""
    for _ in range(90):
        outcome = await attempt(client, text, f"key-{scene.sent}")
        if outcome:
            break
        await asyncio.sleep(1)
    assert outcome, "nobody could say what became of a message"
    (scene.acknowledged if outcome == "done" else scene.cut).append(digest(text))


async def attempt(client: Client, text: str, key: str) -> str:
    """Return what became of a message: done, cut, or nothing if nobody could say."""
    try:
        async with client.call("POST", "/messages", json={"prompt": text}, headers={"Idempotency-Key": key}) as answer:
            if answer.status == 409:
                return "cut" if "turn-interrupted" in await answer.text() else ""
            if answer.status != 200:
                return ""
            kinds = [event.kind async for event in read_events(answer)]
            return "done" if kinds[-1:] == ["done"] else ""
    except (aiohttp.ClientError, TimeoutError):
        return ""


@pytest.mark.timeout(300 + 120 * TIMES)
@pytest.mark.requirement("H31", "K02", "K03")
@pytest.mark.parametrize("fault", [pod_deleted, host_killed, cli_killed, store_killed, operator_killed])
async def test_what_was_acknowledged_is_there_once(stage: Stage, provider: cluster.Provider, fault: Fault) -> None:
    print(f"AGENTSESSIONS_SEED={SEED}")
    chance = random.Random(f"{SEED} {fault.__name__}")
    store = await asyncio.to_thread(redis_store, stage.lab)
    name = fault.__name__.replace("_", "-")
    spec = {"sessionStore": store.given_to(stage.lab), "idleTimeoutSeconds": 3600}
    await asyncio.to_thread(lambda: stage.hybrid(name, **spec))
    scene, client = Scene(stage, store, provider, name), stage.client(name)
    await say(scene, client)
    for _ in range(TIMES):
        turn = asyncio.create_task(say(scene, client))
        await asyncio.sleep(chance.uniform(0, LONGEST))
        await asyncio.to_thread(fault, scene)
        await turn
    await say(scene, client)
    await say(scene, client)
    heard = Counter(stage.lab.model_heard(stage.lab.session(name)))
    assert [one for one in scene.acknowledged if heard[one] != 1] == []
    assert [one for one in scene.cut if heard[one] > 1] == []
    print(f"{fault.__name__}: {len(scene.acknowledged)} acknowledged, {len(scene.cut)} cut")
