"""Other agent images: rolled out to pools and sessions, between turns, and taken back when they do not work."""

import asyncio
from functools import partial

import pytest

import cluster
from e2e import broken, manifests
from e2e.api import POOLS, SESSIONS, TEMPLATES, Json, condition
from e2e.gateway import said
from e2e.lab import Lab
from e2e.sizes import THOROUGH
from e2e.sleepers import slept, told
from e2e.stage import Stage
from e2e.stores import redis_store
from e2e.waiting import eventually

NOWHERE = "registry.invalid/agent:none"
"""An image that no node can pull, and knows so at once."""


def says(thing: Json, kind: str) -> tuple[str, str]:
    """Return status and reason of a condition."""
    found = condition(thing, kind)
    return str(found.get("status", "")), str(found.get("reason", ""))


def is_back(pool: Json) -> bool:
    """Return whether a pool serves with former settings."""
    return says(pool, "Progressing") == ("False", "RolledBack") and says(pool, "Ready")[0] == "True"


@pytest.mark.timeout(300)
@pytest.mark.requirement("K02", "H11")
async def test_a_pool_whose_new_image_cannot_be_pulled_is_taken_back_and_its_sessions_go_on(stage: Stage) -> None:
    lab, names = stage.lab, [f"r-{number}" for number in range(4)]
    opened = await asyncio.to_thread(redis_store, lab)
    store = opened.given_to(lab)
    lab.api.apply(manifests.template(lab.namespace, "hosts", sessionStore=store))
    rule = {"progressDeadlineSeconds": 8}
    spec: Json = {"templateRef": {"name": "hosts"}, "replicas": 2, "drainSeconds": 5, "rollout": rule}
    await asyncio.to_thread(lambda: stage.pool(**spec))
    for name in names:
        stage.session(name)
    await asyncio.to_thread(stage.running, *names)
    for name in names:
        assert said(await stage.client(name).say_text(f"first {manifests.prompt(manifests.say('one'))}")) == ["one"]
    good = stage.until_pool("chat", lambda p: "currentRevision" in p["status"].get("rollout", {}), "what is good")
    old = uids(stage)
    lab.api.patch(TEMPLATES, lab.namespace, "hosts", {"spec": {"image": NOWHERE}})
    pool = await asyncio.to_thread(stage.until_pool, "chat", is_back, "its former image")
    rollout = pool["status"]["rollout"]
    assert rollout["currentRevision"] == good["status"]["rollout"]["currentRevision"] == pool["status"]["templateHash"]
    assert rollout["failedRevision"] == rollout["targetRevision"] != rollout["currentRevision"]
    assert NOWHERE in rollout["message"]
    assert says(pool, "Stalled") == ("True", "RolledBack")
    assert len(old & uids(stage)) == 1, "the other host was never touched"
    assert lab.event("chat", "RolledBack")["regarding"]["kind"] == "AgentPool"
    for name in names:
        assert said(await stage.client(name).say_text(f"then {manifests.prompt(manifests.say('two'))}")) == ["two"]
    found = await asyncio.to_thread(stage.running, *names)
    assert {len(lab.model_heard(session)) for session in found.values()} == {2}
    lab.api.patch(POOLS, lab.namespace, "chat", {"spec": {"rollout": {"paused": True}}})
    await asyncio.to_thread(stage.until_pool, "chat", lambda p: says(p, "Progressing")[1] == "RolloutPaused", "a pause")
    await keeps_its_hosts_until_it_goes_on(stage)


async def keeps_its_hosts_until_it_goes_on(stage: Stage) -> None:
    """See that a change which is good waits while the pool's rollout is paused, and no longer."""
    api, namespace, held = stage.lab.api, stage.lab.namespace, uids(stage)
    change = {"image": None, "resources": {"cpu": "900m"}}
    before = api.get(POOLS, namespace, "chat")
    assert before is not None
    is_seen = partial(aims_at_another, before["status"]["rollout"]["targetRevision"])
    api.patch(TEMPLATES, namespace, "hosts", {"spec": change})
    await asyncio.to_thread(stage.until_pool, "chat", is_seen, "a pause before the other settings")
    await asyncio.sleep(5)  # in which a rollout that is not paused has ended a host
    assert uids(stage) == held
    api.patch(POOLS, namespace, "chat", {"spec": {"rollout": {"paused": None}}})
    await asyncio.to_thread(eventually, lambda: uids(stage), lambda now: len(now) == 2 and not now & held, "new hosts")
    await asyncio.to_thread(stage.until_pool, "chat", lambda p: says(p, "Ready")[0] == "True", "readiness")


def uids(stage: Stage) -> set[str]:
    """Return the hosts of the pool."""
    return {str(pod["metadata"]["uid"]) for pod in stage.hosts()}


def aims_at_another(revision: str, pool: Json) -> bool:
    """Return whether a pool is to have other settings than these, once its rollout goes on."""
    return pool["status"]["rollout"]["targetRevision"] != revision and says(pool, "Progressing")[1] == "RolloutPaused"


async def awake_with_a_past(stage: Stage, name: str, **spec: object) -> Json:
    """Return a Hybrid session that has had a turn in the release's image; the pod of that turn is still there."""
    opened = await asyncio.to_thread(redis_store, stage.lab)
    store = opened.given_to(stage.lab)
    await slept(stage, name, {"sessionStore": store, **spec})
    assert said(await stage.client(name).say_text(told(0))) == ["answer 0"]
    (pod,) = stage.lab.pods(await asyncio.to_thread(stage.lab.reason, name, "Running"))
    return pod


@pytest.mark.timeout(300)
@pytest.mark.requirement("K02", "H03")
async def test_a_session_awake_in_the_old_image_is_moved_after_its_turn_and_goes_on_with_its_conversation(
    stage: Stage,
) -> None:
    lab, name = stage.lab, "mover"
    old = await awake_with_a_past(stage, name, idleTimeoutSeconds=3600)
    other = str(old["status"]["containerStatuses"][0]["imageID"])  # the same image by another name
    assert other != old["spec"]["containers"][0]["image"]
    client = stage.client(name)
    turn = asyncio.create_task(client.say(manifests.bash("sleep 4; echo x"), manifests.say("in peace")))
    await client.at_work()
    lab.api.patch(SESSIONS, lab.namespace, name, {"spec": {"image": other}})
    assert said(await turn)[-1] == "in peace"
    asleep = await asyncio.to_thread(stage.asleep, name)
    assert "lastTermination" not in asleep["status"]
    assert said(await client.say_text(told(1))) == ["answer 1"]
    found = await asyncio.to_thread(lab.reason, name, "Running")
    (pod,) = lab.pods(found)
    assert pod["spec"]["containers"][0]["image"] == found["status"]["rollout"]["currentImage"] == other
    assert condition(found, "Resumed")["reason"] == "TranscriptFound"
    assert len(lab.model_heard(found)) == 3


def image_with(fault: str, lab: Lab, provider: cluster.Provider) -> str:
    """Return an image that does not start, for that reason."""
    if fault == "cannot-be-pulled":
        return NOWHERE
    if fault == "ends-again-and-again":  # as the stand-in does when it is told to serve sessions
        return lab.images.reference("standin")
    if provider.name == "existing":
        pytest.skip("an image that is broken can only be built into a cluster of one's own")
    provider.load_images([broken.build()])
    return broken.BROKEN.reference


@pytest.mark.timeout(300)
@pytest.mark.requirement("K02", "H03")
@pytest.mark.parametrize(
    "fault",
    [
        "cannot-be-pulled",
        "ends-again-and-again",
        pytest.param("has-no-cli", marks=pytest.mark.skipif(not THOROUGH, reason="an image more")),
    ],
)
async def test_a_session_whose_new_image_does_not_start_wakes_in_the_old_one(
    stage: Stage, provider: cluster.Provider, fault: str
) -> None:
    lab, name = stage.lab, fault
    bad = await asyncio.to_thread(image_with, fault, lab, provider)
    old = await awake_with_a_past(stage, name, idleTimeoutSeconds=3600)
    image = old["spec"]["containers"][0]["image"]
    lab.api.patch(SESSIONS, lab.namespace, name, {"spec": {"image": bad}})
    await asyncio.to_thread(stage.asleep, name)
    assert said(await stage.client(name).insist(told(1))) == ["answer 1"]
    found = await asyncio.to_thread(lab.reason, name, "Running")
    assert found["status"]["rollout"]["currentImage"] == image == found["status"]["resolved"]["image"]
    assert found["status"]["rollout"]["failedImage"] == bad
    assert says(found, "Progressing") == ("False", "RolledBack")
    assert fault != "has-no-cli" or "CLI of its image does not start" in found["status"]["lastTermination"]["message"]
    assert says(found, "Resumed") == ("True", "TranscriptFound")
    assert lab.event(name, "RolledBack")["type"] == "Warning"
    assert len(lab.model_heard(found)) == 2
