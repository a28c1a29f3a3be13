"""Another image for sessions that are awake: none is moved while that is paused, and all are when it goes on."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from e2e import install, manifests
from e2e.api import TEMPLATES, Json
from e2e.gateway import reached, said
from e2e.lab import Lab, Labs, image_of
from e2e.sleepers import slept, told
from e2e.stage import Stage
from e2e.stores import redis_store

_NAMES = ("one", "two", "three")
_PAUSED, _GOES_ON = {"paused": True}, {"paused": False, "maxUnavailable": 1}


@pytest.fixture
def stage(labs: Labs) -> Iterator[Stage]:
    """A namespace with somebody in it who may talk; the release has its own values again afterwards."""
    with labs(ends_operator=True) as lab, _own_values(lab), reached(lab.api, lab.terminal) as gateway:
        yield Stage.built(lab, gateway)


@contextmanager
def _own_values(lab: Lab) -> Iterator[None]:
    """Install the release as it was at the end of the block."""
    try:
        yield
    finally:
        chosen(lab)


@pytest.mark.timeout(600)
@pytest.mark.requirement("K02", "H03")
async def test_sessions_awake_in_the_old_image_stay_while_it_is_paused_and_leave_when_it_goes_on(stage: Stage) -> None:
    lab = stage.lab
    store = await asyncio.to_thread(redis_store, lab)
    lab.api.apply(manifests.template(lab.namespace, "agents", sessionStore=store.given_to(lab)))
    pods = [await awake(stage, name) for name in _NAMES]
    other = str(pods[0]["status"]["containerStatuses"][0]["imageID"])  # the same image by another name
    await asyncio.to_thread(chosen, lab, rollout=_PAUSED)
    lab.api.patch(TEMPLATES, lab.namespace, "agents", {"spec": {"image": other}})
    # The operator has seen the template when a session has it that was made after it, and looks at all of them then.
    newcomer = await awake(stage, "newcomer")
    assert image_of(newcomer) == other
    await asyncio.sleep(5)
    assert [uids(lab, name) for name in _NAMES] == [[pod["metadata"]["uid"]] for pod in pods]
    await asyncio.to_thread(chosen, lab, rollout=_GOES_ON)
    for name in _NAMES:
        await asyncio.to_thread(stage.asleep, name)
    for name in _NAMES:
        assert said(await stage.client(name).say_text(told(1))) == ["answer 1"]
        found = await asyncio.to_thread(lab.reason, name, "Running")
        assert [image_of(pod) for pod in lab.pods(found)] == [other]
        assert len(lab.model_heard(found)) == 2
    assert uids(lab, "newcomer") == [newcomer["metadata"]["uid"]], "it had the image already"


async def awake(stage: Stage, name: str) -> Json:
    """Make a session of the template, talk to it, and return its pod."""
    await slept(stage, name, {"templateRef": {"name": "agents"}, "idleTimeoutSeconds": 3600})
    assert said(await stage.client(name).say_text(told(0))) == ["answer 0"]
    (pod,) = stage.lab.pods(await asyncio.to_thread(stage.lab.reason, name, "Running"))
    return pod


def chosen(lab: Lab, **more: Json) -> None:
    """Have the release with these values besides its own, as a person does."""
    lab.operator.keep_evidence()
    install.install_operator(lab.terminal, lab.operator, install.values(lab.images) | more)


def uids(lab: Lab, name: str) -> list[str]:
    """Return the pods that there are of a session."""
    return [str(pod["metadata"]["uid"]) for pod in lab.pods(lab.session(name))]
