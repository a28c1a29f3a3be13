"""Pools: more hosts, fewer hosts, other hosts, and what becomes of the sessions on them."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentsessions.policies.placement import place
from e2e import manifests
from e2e.api import AUTOSCALERS, BUDGETS, CLAIMS, PODS, POOLS, SECRETS, SERVICES, STATEFUL_SETS, condition
from e2e.gateway import Gateway, said
from e2e.install import ROOT
from e2e.killing import autoscaler_marks, refusal
from e2e.lab import Labs
from e2e.stage import POOL_UID, Stage, is_elsewhere, places
from e2e.waiting import eventually

NAMES = [f"p-{n}" for n in range(12)]
ROOM = 12


@pytest.fixture(scope="module")
def stage(labs: Labs, gateway: Gateway) -> Iterator[Stage]:
    """Twelve sessions on a pool of two hosts."""
    with labs() as lab:
        found = Stage.built(lab, gateway)
        found.pool(replicas=2, sessionsPerHost=ROOM, drainSeconds=30)
        for name in NAMES:
            found.session(name, onMissingTranscript="StartFresh")
        found.running(*NAMES)
        yield found


def scale(stage: Stage, replicas: int) -> None:
    """Scale by kubectl, and wait until it is so."""
    stage.lab.terminal.kubectl("scale", "agentpool/chat", f"--replicas={replicas}", "-n", stage.lab.namespace)
    stage.until_pool("chat", lambda p: p["status"]["readyReplicas"] == p["status"]["replicas"] == replicas, "its size")


@pytest.mark.requirement("K03", "H37")
def test_a_host_added_moves_nobody_and_a_host_removed_its_own_only(stage: Stage) -> None:
    before = places(stage.running(*NAMES))
    scale(stage, 3)
    assert places(stage.running(*NAMES)) == before
    stage.session("newcomer")
    after = places(stage.running(*NAMES, "newcomer"))
    hosts = [pod["metadata"]["name"] for pod in stage.hosts()]
    uid = stage.lab.session("newcomer")["metadata"]["uid"]
    loads = Counter(dict.fromkeys(hosts, 0))
    loads.update(before.values())
    assert after["newcomer"] == place(uid, loads, dict.fromkeys(hosts, ROOM))
    removed = max(hosts, key=lambda name: int(name.rpartition("-")[2]))
    scale(stage, 2)
    stage.lab.until(
        "newcomer", lambda s: s["status"].get("host", {}).get("pod", removed) != removed, "a host that stays"
    )
    assert places(stage.running(*NAMES)) == before


@pytest.mark.requirement("K03", "H37", "K02")
def test_a_host_that_comes_back_under_its_name_gets_no_others_sessions(stage: Stage) -> None:
    before = places(stage.running(*NAMES))
    lost = before[NAMES[0]]
    uids = {name: stage.lab.session(name)["status"]["host"]["podUID"] for name in NAMES}
    stage.lab.api.delete(PODS, stage.lab.namespace, lost, gracePeriodSeconds=0)
    own = [name for name, host in before.items() if host == lost]
    for name in own:
        stage.lab.until(name, is_elsewhere(uids[name]), "another pod")
    stage.until_pool("chat", lambda p: p["status"]["readyReplicas"] == 2, "both hosts")
    after = places(stage.running(*NAMES))
    assert {name: host for name, host in after.items() if name not in own} == {
        name: host for name, host in before.items() if name not in own
    }


def check_leftovers(stage: Stage, folder: Path) -> None:
    """Remove by what the page says the Secrets that nobody names; one that could be rolled back to stays."""
    page = (ROOT / "docs" / "pools.md").read_text()
    script = "NS=team POOL=assistants" + page.partition("NS=team POOL=assistants")[2].partition("```")[0]
    pool = stage.lab.api.get(POOLS, stage.lab.namespace, "chat")
    assert pool is not None
    selector = {"labelSelector": f"{POOL_UID}={pool['metadata']['uid']}"}
    named = {str(one["metadata"]["name"]) for one in stage.lab.api.list(SECRETS, stage.lab.namespace, **selector)}
    assert len(named) > 1, "the rollout has left one"
    labels = {"agentsessions.dev/pool": "chat"}
    stray = manifests.secret(stage.lab.namespace, "stray", key="x")
    stage.lab.api.create(stray | {"metadata": stray["metadata"] | {"labels": labels}})
    printed = stage.lab.terminal.shell(
        script.replace("team", stage.lab.namespace).replace("assistants", "chat"), folder
    )
    assert '"stray" deleted' in printed
    left = {str(one["metadata"]["name"]) for one in stage.lab.api.list(SECRETS, stage.lab.namespace, **selector)}
    assert left == named
    assert stage.lab.api.get(SECRETS, stage.lab.namespace, "stray") is None


@pytest.mark.requirement("K02", "H11")
async def test_a_rollout_lets_the_running_turn_finish(stage: Stage, tmp_path: Path) -> None:
    client = stage.client("p-1")
    steps = [manifests.bash("sleep 1; echo x") for _ in range(6)]
    turn = asyncio.create_task(client.say(*steps, manifests.say("finished in peace")))
    await client.at_work()
    pool = stage.lab.api.get(POOLS, stage.lab.namespace, "chat")
    assert pool is not None
    old = pool["status"]["templateHash"]
    stage.lab.api.patch(POOLS, stage.lab.namespace, "chat", {"spec": {"maxQueuedMessages": 5}})
    assert said(await turn)[-1] == "finished in peace"

    def rolled() -> None:
        stage.until_pool(
            "chat",
            lambda p: (
                p["status"]["templateHash"] != old
                and p["status"]["updatedReplicas"] == p["status"]["readyReplicas"] == 2
            ),
            "the rollout",
            240,
        )
        stage.running(*NAMES)

    await asyncio.to_thread(rolled)
    assert said(await client.say(manifests.say("after"))) == ["after"]
    await asyncio.to_thread(check_leftovers, stage, tmp_path)


@pytest.mark.requirement("K01", "H36")
def test_a_pool_is_sized_by_formula_and_guarded(stage: Stage) -> None:
    pool = stage.lab.api.get(POOLS, stage.lab.namespace, "chat")
    assert pool is not None
    assert pool["status"]["capacity"]["hostMemory"] == f"{256 + 12 * 300}Mi"
    (pod, *_) = stage.hosts()
    assert pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == f"{256 + 12 * 300}Mi"
    (budget,) = stage.lab.api.list(BUDGETS, stage.lab.namespace)
    assert budget["spec"]["maxUnavailable"] == 1
    assert "ANTHROPIC_API_KEY" in json.dumps(pod)
    assert "placeholder" in json.dumps(pod)


@pytest.mark.requirement("K02", "H36")
def test_a_host_that_must_not_be_evicted_is_not_until_its_pool_says_otherwise(stage: Stage) -> None:
    lab = stage.lab
    lab.api.apply(manifests.template(lab.namespace, "guarded", disruption="Never"))
    stage.pool("guarded", replicas=1, sessionsPerHost=1, templateRef={"name": "guarded"})
    (host,) = stage.hosts("guarded")
    assert autoscaler_marks(host) == {"safe-to-evict": "false", "do-not-disrupt": "true"}
    assert refusal(lab.api, lab.namespace, host["metadata"]["name"]) == 429
    lab.api.apply(manifests.template(lab.namespace, "guarded", disruption="Safe"))
    # The budget's controller looks again, and the host may be replaced meanwhile, since its marks are others.
    eventually(lambda: _evicted(stage, "guarded"), bool, "an eviction that is let through")
    stage.until_pool("guarded", lambda p: p["status"]["readyReplicas"] == 1, "the next host", 240)
    lab.terminal.kubectl("delete", "agentpool", "guarded", "-n", lab.namespace)


def _evicted(stage: Stage, pool: str) -> bool:
    """Ask for the eviction of the hosts of a pool; return whether one of them was not refused."""
    names = [host["metadata"]["name"] for host in stage.hosts(pool)]
    return 0 in [refusal(stage.lab.api, stage.lab.namespace, name) for name in names]


@pytest.mark.requirement("H11")
def test_autoscaling_follows_the_number_of_sessions(stage: Stage) -> None:
    rule = {"minReplicas": 1, "maxReplicas": 3, "targetUtilizationPercent": 100, "scaleDownDelaySeconds": 1}
    stage.pool("auto", sessionsPerHost=1, autoscaling=rule)
    for name in ("a-0", "a-1"):
        stage.session(name, "auto")
    stage.running("a-0", "a-1")
    stage.until_pool("auto", lambda p: p["status"]["desiredReplicas"] == 2, "two hosts")
    for name in ("a-0", "a-1"):
        stage.lab.terminal.kubectl("delete", "agentsession", name, "-n", stage.lab.namespace)
    stage.until_pool("auto", lambda p: p["status"]["replicas"] == 1, "one host", 240)


@pytest.mark.requirement("H11", "K01")
def test_an_autoscaler_of_kubernetes_scales_a_pool_within_its_bounds(stage: Stage) -> None:
    """Without metrics it keeps to its bounds, which is enough to see that it finds `/scale` and is obeyed."""
    lab = stage.lab
    stage.pool("plain", replicas=1, sessionsPerHost=1)
    lab.api.apply(manifests.autoscaler(lab.namespace, "plain", least=2, most=3))
    stage.until_pool("plain", lambda p: p["status"]["readyReplicas"] == 2, "the fewest hosts", 240)
    lab.terminal.kubectl("scale", "agentpool/plain", "--replicas=4", "-n", lab.namespace)
    stage.until_pool("plain", lambda p: p["status"]["replicas"] == p["spec"]["replicas"] == 3, "the most hosts", 240)
    found = lab.api.get(AUTOSCALERS, lab.namespace, "plain")
    assert found is not None
    assert condition(found, "AbleToScale")["status"] == "True"
    lab.terminal.kubectl("delete", "hpa/plain", "agentpool/plain", "-n", lab.namespace)


@pytest.mark.requirement("K01")
def test_what_cannot_be_is_said_and_mended(stage: Stage) -> None:
    stage.lab.api.apply(manifests.pool(stage.lab.namespace, "tiny", hostMemory="300Mi"))
    found = stage.until_pool("tiny", lambda p: condition(p, "Stalled").get("status") == "True", "the problem")
    assert condition(found, "Ready")["reason"] == "InvalidSpec"
    assert "hostMemory" in condition(found, "Ready")["message"]
    stage.session("early", "tomorrow")
    stage.lab.reason("early", "PoolNotFound")
    stage.pool("tomorrow", replicas=1, sessionsPerHost=1)
    stage.running("early")
    stage.session("crowded", "tomorrow")
    stage.lab.reason("crowded", "PoolFull")
    stage.lab.terminal.kubectl("delete", "agentsession", "early", "-n", stage.lab.namespace)
    stage.running("crowded")


@pytest.mark.requirement("K01")
def test_a_deleted_pool_leaves_nothing(stage: Stage) -> None:
    stage.pool("brief", replicas=1, sessionsPerHost=1)
    found = stage.lab.api.get(POOLS, stage.lab.namespace, "brief")
    assert found is not None
    selector = f"agentsessions.dev/pool-uid={found['metadata']['uid']}"
    kinds = (STATEFUL_SETS, SERVICES, BUDGETS, SECRETS, PODS, CLAIMS)
    children = [
        (kind, one) for kind in kinds for one in stage.lab.api.list(kind, stage.lab.namespace, labelSelector=selector)
    ]
    assert {kind for kind, _ in children} >= {STATEFUL_SETS, SERVICES, BUDGETS, SECRETS, PODS}
    stage.lab.terminal.kubectl("delete", "agentpool", "brief", "-n", stage.lab.namespace)
    for kind, one in children:
        stage.lab.gone(kind, one["metadata"]["name"])
