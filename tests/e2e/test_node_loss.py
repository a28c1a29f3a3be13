"""A node that is heard of no more: its session goes on elsewhere, and what lives on there changes nothing."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

import cluster
from cluster.local.provider import LocalProvider
from e2e import manifests, wires
from e2e.gateway import Event, reached, said
from e2e.killing import cleared, cordoned
from e2e.lab import Labs
from e2e.sizes import THOROUGH
from e2e.sleepers import slept, told
from e2e.stage import Stage, is_elsewhere
from e2e.stores import Store, redis_store
from e2e.waiting import eventually
from standin.conversation import digest

_MOVED_SECONDS = 300
"""The cluster takes 50 s to find that a node is lost; then nodeLossSeconds, the grace period and half a minute more."""


@dataclass(frozen=True)
class Scene:
    """Two nodes: one that will be lost, and one with all that has to go on."""

    stage: Stage
    store: Store
    provider: LocalProvider
    doomed: str
    safe: str


@pytest.fixture(scope="module")
def scene(labs: Labs, provider: cluster.Provider) -> Iterator[Scene]:
    """Nothing but what belongs to the node itself is on the node that will be lost."""
    if not isinstance(provider, LocalProvider):
        pytest.skip("nodes are lost only where they are processes of this machine")
    with labs(ends_operator=True) as lab:
        store = redis_store(lab)
        if THOROUGH:  # the wire leaves the second node alone: what all need has to be on the first
            _moved(store, *provider.nodes())
        safe = store.node()
        doomed = next(node for node in provider.nodes() if node != safe)
        with cordoned(lab.api, doomed):
            cleared(lab.api, doomed)
            lab.operator.wait_ready()
        with reached(lab.api, lab.terminal) as gateway:
            yield Scene(Stage.built(lab, gateway), store, provider, doomed, safe)


@contextmanager
def _kubelet_stopped(scene: Scene) -> Iterator[None]:
    """Nothing is heard of the node any more; its pods reach whatever they did before."""
    scene.provider.stop_component(f"{scene.doomed}-kubelet")
    try:
        yield
    finally:
        scene.provider.start_node(scene.doomed)


@contextmanager
def _cut_off(scene: Scene) -> Iterator[None]:
    """The node and its pods are alone, with a wire that carries nothing."""
    with wires.cut_off():
        yield
    scene.provider.start_node(scene.doomed)  # nothing is to be started: it waits until the node is Ready


_CUT = pytest.param(
    _cut_off,
    "70",  # it ends while the node is alone: what comes after it waits for the wire
    id="wire-cut",
    marks=pytest.mark.skipif(not THOROUGH, reason="takes another three minutes: `make test-thorough` does"),
)


@pytest.mark.timeout(900)
@pytest.mark.requirement("K02", "H04", "H31")
@pytest.mark.parametrize(("loss", "seconds"), [pytest.param(_kubelet_stopped, "60000", id="kubelet-stopped"), _CUT])
async def test_a_session_goes_on_while_its_old_pod_lives_on_on_a_node_that_is_lost(
    scene: Scene, loss: Callable[[Scene], AbstractContextManager[None]], seconds: str, request: pytest.FixtureRequest
) -> None:
    stage, lab, name = scene.stage, scene.stage.lab, request.node.callspec.id
    spec = {"sessionStore": scene.store.given_to(lab), "terminationGracePeriodSeconds": 5}
    await slept(stage, name, spec)
    client = stage.client(name)
    with cordoned(lab.api, scene.safe):
        assert said(await client.say_text(told(0))) == ["answer 0"]
    old = lab.session(name)["status"]["host"]
    assert old["node"] == scene.doomed
    work = f"sleep {seconds}.{secrets.randbelow(9_999):04}"
    cut = asyncio.create_task(client.say_text(manifests.prompt(manifests.bash(f"true; {work}", timeout=600_000))))
    await asyncio.to_thread(eventually, lambda: _runs(work), lambda runs: runs, "the tool's work")
    with loss(scene):
        await asyncio.to_thread(lab.until, name, is_elsewhere(old["podUID"]), "another pod", _MOVED_SECONDS)
        assert said(await client.say_text(told(1))) == ["answer 1"]
        assert lab.reason(name, "Running")["status"]["host"]["node"] == scene.safe
        assert _host_lives(old["podUID"]), "the node is lost, and its pods live on"
        assert not await _came_to_its_end(cut)
    assert said(await client.say_text(told(2))) == ["answer 2"]
    await asyncio.to_thread(eventually, lambda: _host_lives(old["podUID"]), lambda lives: not lives, "its end")
    assert not _runs(work)
    found = lab.session(name)
    heard = lab.model_heard(found)
    assert [heard[0], *heard[-2:]] == [digest(told(number)) for number in range(3)]
    assert len(heard) == 4, "with the turn that was cut"
    last = found["status"]["lastTermination"]
    assert (found["status"]["restarts"], last["podUID"], last["node"]) == (1, old["podUID"], scene.doomed)
    assert last["reason"] == "NodeLost", last
    assert "exitCode" not in last, "nobody has seen it end"
    assert said(await client.say_text(told(3))) == ["answer 3"]
    assert lab.model_heard(found)[:4] == heard, "what came back from there has changed nothing"


async def _came_to_its_end(turn: asyncio.Task[list[Event]]) -> bool:
    """Return whether a client was told that its turn is done; one whose pod has lost its network is cut off."""
    try:
        return (await turn)[-1].kind == "done"
    except (aiohttp.ClientError, TimeoutError):
        return False


def _moved(store: Store, node: str, *others: str) -> None:
    """Have the store on a node, with nothing in it if it was on another one."""
    if store.node() in others:
        with ExitStack() as closed:
            for other in others:
                closed.enter_context(cordoned(store.api, other))
            store.begin_anew()


def _runs(command: str) -> bool:
    """Return whether a process of this machine, in whatever pod, runs the command."""
    return any(command.encode() in line for line in _read("cmdline", b"\0", b" "))


def _host_lives(pod_uid: str) -> bool:
    """Return whether a pod's host runs on this machine, whatever the API server knows of the pod."""
    return any(pod_uid.encode() in groups or pod_uid.replace("-", "_").encode() in groups for groups in _read("cgroup"))


def _read(name: str, old: bytes = b"", new: bytes = b"") -> list[bytes]:
    """Return a file of all processes."""
    found = []
    for path in Path("/proc").glob(f"[0-9]*/{name}"):
        with suppress(OSError):
            found.append(path.read_bytes().replace(old, new) if old else path.read_bytes())
    return found
