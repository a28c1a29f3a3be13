"""Clients of the Agent SDK hosting cookbook work unchanged, and what goes wrong there does not go wrong here.

The numbers are those of the defects found by reading its Kubernetes tier; each test would fail on it.
"""

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from itertools import pairwise

import pytest

from e2e import manifests
from e2e.api import DEPLOYMENTS, NODES, PODS, POLICIES, condition
from e2e.gateway import Gateway, fetch, read_events, said
from e2e.lab import Labs
from e2e.operator_pod import NAMESPACE
from e2e.stage import Stage


@pytest.fixture(scope="module")
def stage(labs: Labs, gateway: Gateway) -> Iterator[Stage]:
    """A pool that serves ids without resources, and two sessions that have one."""
    with labs() as lab:
        found = Stage.built(lab, gateway)
        found.pool(replicas=1, sessionsPerHost=20, implicitSessions=True, drainSeconds=20)
        for name in ("one", "two"):
            found.session(name)
        found.running("one", "two")
        yield found


def cookbook_client(base: str, namespace: str, token: str, session_id: str, prompt: str) -> list[tuple[str, str]]:
    """Post a prompt and parse the answer as the cookbook's own README does: nothing but the standard library."""
    request = urllib.request.Request(
        f"{base}/sessions/{session_id}/messages",
        data=json.dumps({"prompt": prompt}).encode(),
        headers={
            "Content-Type": "application/json",
            "Authorization": f"Bearer {token}",
            "X-Agentsessions-Pool": f"{namespace}/chat",
        },
    )
    events, kind = [], ""
    with urllib.request.urlopen(request, timeout=120) as answer:
        for raw in answer:
            line = raw.decode().rstrip("\n")
            if line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: "):
                events.append((kind, line[6:]))
    return events


@pytest.mark.requirement("H11", "H25")
async def test_a_client_of_the_cookbook_works_unchanged(stage: Stage) -> None:
    answer = await asyncio.to_thread(
        cookbook_client,
        stage.gateway.url,
        stage.lab.namespace,
        stage.token,
        "Chat_7-a",
        manifests.prompt(manifests.say("hello from the pool")),
    )
    assert {kind for kind, _ in answer} == {"message", "done"}
    assert answer[-1] == ("done", "{}")
    assert "hello from the pool" in str(answer)
    assert all("type" in json.loads(data) for kind, data in answer if kind == "message")
    assert json.loads(await asyncio.to_thread(fetch, f"{stage.gateway.url}/health")) == {"status": "ok"}


async def test_defect_01_an_address_that_is_another_pods_by_now_serves_nobody(stage: Stage) -> None:
    """Every request carries a token for one pod's uid; test_gateway shows 421 for any other."""
    host = stage.lab.session("one")["status"]["host"]
    pod = stage.lab.api.get(PODS, stage.lab.namespace, host["pod"])
    assert pod is not None
    assert host["podUID"] == pod["metadata"]["uid"]


@pytest.mark.parametrize(("body", "status"), [(b"{}", 422), (b"not json", 400), (b'{"prompt": " "}', 422)])
async def test_defect_02_a_wrong_body_costs_nothing_but_itself(stage: Stage, body: bytes, status: int) -> None:
    client = stage.client("one")
    await client.say(manifests.say("before"))
    pid = (await client.state())["pid"]
    assert (await client.status("POST", "/messages", data=body))[0] == status
    assert (await client.state())["pid"] == pid
    assert "before" in str(await client.transcript())


async def test_defect_03_a_conversation_is_never_blank_without_a_word(stage: Stage) -> None:
    async with stage.client("two").call(
        "POST", "/messages", json={"prompt": manifests.prompt(manifests.say("x"))}
    ) as a:
        assert a.headers["X-Agentsessions-Session"] in ("fresh", "resumed", "lost")
        assert [event.kind async for event in read_events(a)][-1] == "done"


async def test_defect_04_a_long_turn_is_not_idle(stage: Stage) -> None:
    """Nothing here ends a turn by the clock of its arrival; a stream lives on heartbeats."""
    steps = [manifests.bash("sleep 4; echo x") for _ in range(5)]
    assert said(await stage.client("two").say(*steps, manifests.say("after twenty seconds")))[-1].startswith("after")


async def test_defect_05_an_id_stays_with_its_user_for_ever(stage: Stage) -> None:
    await stage.implicit("mine").say(manifests.say("secret-of-app"))
    stage.lab.api.apply(manifests.account(stage.lab.namespace, "late"))
    stage.lab.api.apply(manifests.editor(stage.lab.namespace, "late"))
    late = stage.implicit("mine", token=stage.gateway.token(stage.lab.namespace, "late"))
    await late.say(manifests.say("hello"))
    assert "secret-of-app" not in str(await late.transcript())


async def test_defect_06_no_key_is_in_an_agents_pod(stage: Stage) -> None:
    events = await stage.client("one").say(
        manifests.bash("env; cat /proc/self/environ | tr '\\0' '\\n'"), manifests.say("{{toolResult}}")
    )
    seen = said(events)[-1]
    assert "ANTHROPIC_API_KEY=placeholder" in seen
    assert "sk-ant" not in seen
    assert "PRIVATE KEY" not in seen
    assert "AGENTSESSIONS_" not in seen


async def test_defect_07_state_is_on_a_volume(stage: Stage) -> None:
    (pod,) = stage.hosts()
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert "emptyDir" in volumes[mounts["/state"]]


@pytest.mark.parametrize("session_id", ["Upper_Case", "a" * 64, "ends-with-", "ends_"])
async def test_defect_08_every_valid_id_works(stage: Stage, session_id: str) -> None:
    assert said(await stage.implicit(session_id).say(manifests.say("yes"))) == ["yes"]
    assert (await stage.implicit(session_id).state())["origin"] == "Implicit"


async def test_defect_09_a_session_that_waited_comes_up_by_itself(stage: Stage) -> None:
    stage.session("patient", "later")
    stage.lab.reason("patient", "PoolNotFound")
    await asyncio.to_thread(lambda: stage.pool("later", replicas=1, sessionsPerHost=1))
    await asyncio.to_thread(stage.running, "patient")
    assert said(await stage.client("patient").say(manifests.say("here"))) == ["here"]


async def test_defect_10_turns_of_one_session_never_overlap(stage: Stage) -> None:
    client = stage.client("two")
    turns = await asyncio.gather(*(client.say(manifests.say(f"turn {n}")) for n in range(5)))
    spans = sorted((events[0].number, events[-1].number) for events in turns)
    assert all(first[1] < second[0] for first, second in pairwise(spans))


async def test_defect_11_hosts_are_as_many_as_asked_for(stage: Stage) -> None:
    assert len(stage.hosts()) == 1


async def test_defect_12_nothing_is_a_single_proxy(stage: Stage) -> None:
    found = stage.lab.api.get(DEPLOYMENTS, NAMESPACE, "agentsessions-gateway")
    assert found is not None
    assert found["status"]["readyReplicas"] == 2


async def test_defect_13_hosts_belong_to_their_pool(stage: Stage) -> None:
    (pod,) = stage.hosts()
    (owner,) = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["controller"]) == ("StatefulSet", True)


async def test_defect_14_namespaces_bound_who_may(stage: Stage) -> None:
    assert stage.lab.api.list(POLICIES, stage.lab.namespace)
    elsewhere = f"/v1/namespaces/{NAMESPACE}/sessions/one"
    client = type(stage.client("one"))(stage.gateway.url, elsewhere, stage.token)
    assert (await client.status())[0] == 404
    assert stage.lab.api.list(NODES)


async def test_defect_15_a_turn_does_not_wait_for_a_new_process(stage: Stage) -> None:
    client = stage.client("one")
    pids = []
    for _ in range(3):
        await client.say(manifests.say("again"))
        pids.append((await client.state())["pid"])
    assert len(set(pids)) == 1


async def test_defect_16_without_configuration_nobody_is_let_in(stage: Stage) -> None:
    assert (await stage.client("one", token=" ").status())[0] == 401


async def test_defect_17_a_gateway_that_is_replaced_lets_its_streams_end(stage: Stage) -> None:
    found = stage.lab.api.get(DEPLOYMENTS, NAMESPACE, "agentsessions-gateway")
    assert found is not None
    spec = found["spec"]["template"]["spec"]
    sleeps = {one["name"]: one["lifecycle"]["preStop"]["sleep"]["seconds"] for one in spec["containers"]}
    assert set(sleeps) == {"envoy", "directory"}
    assert all(spec["terminationGracePeriodSeconds"] > seconds > 0 for seconds in sleeps.values())
    assert condition(found, "Available")["status"] == "True"
