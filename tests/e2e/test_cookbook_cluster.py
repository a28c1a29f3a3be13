"""What goes wrong with the pods of the hosting cookbook's Kubernetes tier, and does not go wrong here.

The numbers are those of the defects; the others are in `test_cookbook.py`.
"""

import asyncio
from collections.abc import Iterator

import pytest

from e2e import manifests
from e2e.api import DEPLOYMENTS, EVENTS, PODS, POLICIES, POOLS, SECRETS, STATEFUL_SETS, Json, condition
from e2e.forwarding import forwarded
from e2e.gateway import Client, Gateway, read_events, said
from e2e.lab import Labs
from e2e.operator_pod import NAMESPACE
from e2e.stage import Stage, is_elsewhere
from e2e.tokens import Signer, ask


@pytest.fixture(scope="module")
def stage(labs: Labs, gateway: Gateway) -> Iterator[Stage]:
    """Two pools of one host each, and a session on the first."""
    with labs() as lab:
        found = Stage.built(lab, gateway)
        found.pool(replicas=1, sessionsPerHost=4)
        found.pool("other", replicas=1, sessionsPerHost=4, implicitSessions=True)
        found.session("one")
        found.running("one")
        yield found


async def began(client: Client) -> str:
    """Send a message; return with what the session began, as its answer says."""
    prompt = manifests.prompt(manifests.say("x"))
    async with client.call("POST", "/messages", json={"prompt": prompt}) as answer:
        assert answer.status == 200, await answer.text()
        assert [event.kind async for event in read_events(answer)][-1] == "done"
        return answer.headers["X-Agentsessions-Session"]


async def test_defect_01_an_address_that_is_another_pods_by_now_serves_nobody(stage: Stage) -> None:
    """What the gateway would send to a session's host is shown to a host that might have got its address."""
    lab, session = stage.lab, stage.lab.session("one")
    uid, pod_uid = session["metadata"]["uid"], session["status"]["host"]["podUID"]
    (heir,) = stage.hosts("other")
    assert heir["metadata"]["uid"] != pod_uid
    signer = Signer.of(lab.api, lab.terminal, heir)
    with forwarded(lab.terminal, lab.namespace, heir["metadata"]["name"], 8000) as url:
        assert await ask(url, uid, signer.token(pod_uid, uid)) == 421
        # Nor does a host make a session that it was not given, whoever asks.
        assert await ask(url, uid, signer.token(heir["metadata"]["uid"], uid)) == 503
        assert await ask(url, uid, signer.token(heir["metadata"]["uid"], uid, scope="host")) == 404
    assert said(await stage.client("one").say(manifests.say("at home"))) == ["at home"]


async def test_defect_03_a_conversation_is_never_blank_without_a_word(stage: Stage) -> None:
    lab, client = stage.lab, stage.client("forgetful")
    stage.session("forgetful", "other", onMissingTranscript="StartFresh")
    await asyncio.to_thread(stage.running, "forgetful")
    assert await began(client) == "fresh"
    await asyncio.to_thread(
        lab.until, "forgetful", lambda s: s["status"].get("usage", {}).get("turns", 0) > 0, "its usage", 90
    )
    host = lab.session("forgetful")["status"]["host"]
    lab.api.delete(PODS, lab.namespace, host["pod"], gracePeriodSeconds=0)
    await asyncio.to_thread(lab.until, "forgetful", is_elsewhere(host["podUID"]), "another pod")
    found = (await asyncio.to_thread(stage.running, "forgetful"))["forgetful"]
    for way in stage.gateway.urls.values():
        assert await began(stage.client("forgetful", base=way)) == "lost"
    assert condition(found, "Resumed")["reason"] == "TranscriptMissing"


async def test_defect_06_no_key_is_in_an_agents_pod(stage: Stage) -> None:
    look = "env; cat /proc/self/environ /proc/1/environ | tr '\\0' '\\n'; cat /var/run/agentsessions/session/*"
    seen = said(await stage.client("one").say(manifests.bash(look), manifests.say("{{toolResult}}")))[-1]
    assert "ANTHROPIC_API_KEY=placeholder" in seen
    assert "sessionsPerHost" in seen, "the host's own files were looked at"
    for secret in ("sk-ant", "PRIVATE KEY", stage.signing_key().decode().splitlines()[1], '"d":'):
        assert secret not in seen
    (pod,) = stage.hosts()
    (secret_name,) = [v["secret"]["secretName"] for v in pod["spec"]["volumes"] if "secret" in v]
    found = stage.lab.api.get(SECRETS, stage.lab.namespace, secret_name)
    assert found is not None
    assert set(found["data"]) == {"host.json"}
    assert {kind for v in pod["spec"]["volumes"] for kind in v} == {"name", "secret", "emptyDir"}
    assert not [env for env in pod["spec"]["containers"][0]["env"] if "secretKeyRef" in env.get("valueFrom", {})]


async def test_defect_07_conversations_are_on_a_volume(stage: Stage) -> None:
    await stage.client("one").say(manifests.say("to be kept"))
    (pod,) = stage.hosts()
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert {"emptyDir", "persistentVolumeClaim"} & set(volumes[mounts["/state"]])
    uid = stage.lab.session("one")["metadata"]["uid"]
    search = f"grep -rl 'to be kept' /state/sessions/{uid}"
    found = await asyncio.to_thread(stage.lab.execute, pod["metadata"]["name"], "sh", "-c", search)
    assert found.strip().endswith(f"{uid}.jsonl")


async def test_defect_11_hosts_are_as_many_as_asked_for_and_roll_with_their_settings(stage: Stage) -> None:
    def made() -> Json:
        return stage.pool("many", replicas=3, sessionsPerHost=1)

    before = await asyncio.to_thread(made)
    first = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in stage.hosts("many")}
    assert len(first) == 3
    query = {"fieldSelector": "reason=SuccessfulCreate,regarding.kind=StatefulSet"}
    notes = [event["note"] for event in stage.lab.api.list(EVENTS, stage.lab.namespace, **query)]
    assert sorted(name for note in notes for name in first if f"Pod {name} " in note) == sorted(first)
    stage.lab.api.patch(POOLS, stage.lab.namespace, "many", {"spec": {"maxQueuedMessages": 3}})

    def rolled(pool: Json) -> bool:
        status = pool["status"]
        new = status["templateHash"] != before["status"]["templateHash"]
        return bool(new and status["updatedReplicas"] == status["readyReplicas"] == 3)

    await asyncio.to_thread(stage.until_pool, "many", rolled, "the rollout", 240)
    assert not set(first.values()) & {pod["metadata"]["uid"] for pod in stage.hosts("many")}


async def test_defect_12_nothing_is_a_single_proxy(stage: Stage) -> None:
    found = stage.lab.api.get(DEPLOYMENTS, NAMESPACE, "agentsessions-gateway")
    assert found is not None
    assert found["status"]["readyReplicas"] == 2
    pids = [(await stage.client("one", base=way).state())["pid"] for way in stage.gateway.urls.values()]
    assert (len(pids), len(set(pids))) == (2, 1)


async def test_defect_13_hosts_belong_to_their_pool(stage: Stage) -> None:
    (pod,) = stage.hosts()
    (owner,) = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["controller"]) == ("StatefulSet", True)
    hosts = stage.lab.api.get(STATEFUL_SETS, stage.lab.namespace, owner["name"])
    pool = stage.lab.api.get(POOLS, stage.lab.namespace, "chat")
    assert hosts is not None
    assert pool is not None
    (above,) = hosts["metadata"]["ownerReferences"]
    assert (above["kind"], above["uid"], above["controller"]) == ("AgentPool", pool["metadata"]["uid"], True)


async def test_defect_14_namespaces_bound_who_may_and_what_is_used_is_known(stage: Stage, labs: Labs) -> None:
    with labs() as elsewhere:
        theirs = Stage.built(elsewhere, stage.gateway)
        theirs.session("secret", "none")
        await asyncio.to_thread(elsewhere.reason, "secret", "PoolNotFound")
        path = f"/v1/namespaces/{elsewhere.namespace}/sessions/secret"
        owner, stranger = (Client(stage.gateway.url, path, token) for token in (theirs.token, stage.token))
        assert (await owner.status())[0] == 503, "it is there, and cannot be reached for want of its pool"
        assert await stranger.status() == await stage.client("nothing").status()
        assert (await stranger.status())[0] == 404
    await stage.client("one").say(manifests.say("costs something"))
    await asyncio.to_thread(
        stage.lab.until, "one", lambda s: float(s["status"].get("usage", {}).get("costUsd", 0)) > 0, "its cost", 90
    )
    labels = {"namespace": stage.lab.namespace}
    samples = [s for s in await asyncio.to_thread(stage.lab.operator.metrics) if s.labels == labels]
    assert {s.name: s.value > 0 for s in samples}["agentsessions_cost_dollars_total"]
    (pod,) = stage.hosts()
    assert {"cpu", "memory", "ephemeral-storage"} <= set(pod["spec"]["containers"][0]["resources"]["limits"])
    assert stage.lab.api.list(POLICIES, stage.lab.namespace)


async def test_defect_17_a_gateway_that_is_replaced_lets_its_streams_end(stage: Stage) -> None:
    found = stage.lab.api.get(DEPLOYMENTS, NAMESPACE, "agentsessions-gateway")
    assert found is not None
    spec = found["spec"]["template"]["spec"]
    sleeps = {one["name"]: one["lifecycle"]["preStop"]["sleep"]["seconds"] for one in spec["containers"]}
    assert set(sleeps) == {"envoy", "directory"}
    assert all(spec["terminationGracePeriodSeconds"] > seconds > 0 for seconds in sleeps.values())
    assert condition(found, "Available")["status"] == "True"
