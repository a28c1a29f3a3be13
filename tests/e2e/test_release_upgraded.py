"""A whole older release is upgraded by Helm under sessions in all places: operator, gateways, CRDs, agents' image."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import cluster
from e2e import install, manifests, older
from e2e.api import DEPLOYMENTS, PODS, Json, condition
from e2e.gateway import reached, said
from e2e.lab import Lab, Labs, gated, image_of
from e2e.manifests import say
from e2e.operator_pod import NAMESPACE, is_ready, is_rolled_out
from e2e.sizes import THOROUGH
from e2e.sleepers import told
from e2e.stage import Stage
from e2e.stores import redis_store
from e2e.waiting import eventually, wait_for
from images.build import build_from

_LATER = ("admission",)
"""Values that the older chart does not know."""


@pytest.fixture
def lab(labs: Labs, provider: cluster.Provider) -> Iterator[Lab]:
    """A namespace, while the older release is installed; at last that of this checkout is there again."""
    if provider.name == "existing":
        pytest.skip("an older release can only be built into a cluster of one's own")
    made = older.OPERATOR, older.AGENT
    with labs(ends_operator=True) as found, older.checkout(*older.sources(*made), "charts") as root:
        provider.load_images([build_from(root, image) for image in made])
        with _installed(found, root / "charts" / "agentsessions"):
            yield found


@contextmanager
def _installed(lab: Lab, chart: Path) -> Iterator[None]:
    """Have the release of that chart, with the images that belong to it; afterwards what it was before."""
    own = install.values(lab.images)
    own |= {"image": _image(older.OPERATOR.name), "agentImage": _image(older.AGENT.name)}
    _helm(lab, {name: value for name, value in own.items() if name not in _LATER}, chart)
    try:
        yield
    finally:
        _helm(lab, install.values(lab.images))


def _image(name: str) -> Json:
    return {"repository": f"{install.OWN_PREFIX}/{name}", "tag": "dev"}


def _helm(lab: Lab, values: Json, chart: Path = install.CHART) -> None:
    """Install a release and wait for all of it; what an operator may do changes a moment before itself."""
    lab.operator.keep_evidence()
    with lab.operator.disowned():
        install.upgrade(lab.terminal, values, chart)
        lab.operator.wait_ready()
    wait_for(lab.api, DEPLOYMENTS, NAMESPACE, "agentsessions-gateway", is_rolled_out, "the gateways' rollout")


@pytest.mark.timeout(1200)
@pytest.mark.requirement("K02", "H03", "H11")
@pytest.mark.skipif(not THOROUGH, reason="two more images and three installations: `make test-thorough` does")
async def test_sessions_go_on_with_their_conversations_in_the_new_release(lab: Lab) -> None:
    names = ("asleep", "awake", "hosted")
    with reached(lab.api, lab.terminal) as gateway:
        stage = await asyncio.to_thread(Stage.built, lab, gateway)
        await asyncio.to_thread(begun, stage)
        for name in names:
            assert said(await stage.client(name).say_text(told(0))) == ["answer 0"]
        await asyncio.to_thread(stage.asleep, "asleep")
        lab.start("task", steps=(gated(), say("done")))
        pod = await asyncio.to_thread(lab.at_gate, "task")
    assert {image_of(one) for one in agents(lab)} == {older.AGENT.reference}
    await asyncio.to_thread(_helm, lab, install.values(lab.images))
    await asyncio.to_thread(lab.open_gate, pod)
    assert (await asyncio.to_thread(lab.succeeded, "task"))["status"]["restarts"] == 0
    await asyncio.to_thread(stage.asleep, "awake")
    new = lab.images.reference("agent")
    await asyncio.to_thread(eventually, lambda: ready_hosts(stage), lambda found: found == [new], "another host", 300)
    with reached(lab.api, lab.terminal) as gateway:
        after = Stage(lab, gateway, stage.token)
        for name in names:
            assert said(await after.client(name).insist(told(1))) == ["answer 1"]
            found = await asyncio.to_thread(lab.reason, name, "Running")
            assert condition(found, "Resumed")["reason"] == "TranscriptFound"
            assert len(lab.model_heard(found)) == 2
            assert found["status"]["failures"] == 0
    assert {image_of(one) for one in agents(lab)} == {new}


def begun(stage: Stage) -> None:
    """Have a session that will sleep, one that stays awake, and one on a pool."""
    lab = stage.lab
    store = redis_store(lab).given_to(lab)
    lab.api.apply(manifests.template(lab.namespace, "hosts", sessionStore=store))
    stage.pool(templateRef={"name": "hosts"}, replicas=1, drainSeconds=5)
    stage.session("hosted")
    stage.running("hosted")
    stage.hybrid("asleep", sessionStore=store, idleTimeoutSeconds=5)
    stage.hybrid("awake", sessionStore=store, idleTimeoutSeconds=3600)


def agents(lab: Lab) -> list[Json]:
    """Return the pods of sessions and pools that run."""
    selector = "app.kubernetes.io/managed-by=agentsessions"
    return lab.api.list(PODS, lab.namespace, labelSelector=selector, fieldSelector="status.phase=Running")


def ready_hosts(stage: Stage) -> list[str]:
    """Return the images of the pool's hosts that are ready."""
    return [image_of(pod) for pod in stage.hosts() if is_ready(pod)]
