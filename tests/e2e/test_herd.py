"""No herd: sleepers that are all spoken to at once, as in an outage, wake one after the other, and all answer."""

import asyncio

import pytest

from e2e.api import SESSIONS, Json, condition
from e2e.gateway import Gateway, read_events, said
from e2e.install import BOUNDED
from e2e.lab import Labs
from e2e.sizes import THOROUGH, size
from e2e.sleepers import is_ready, slept, told
from e2e.stage import Stage

CROWD = size(3, 12)
"""More than the namespace may have awake, so that the last ones wait until others sleep."""


@pytest.mark.timeout(900)
@pytest.mark.requirement("K01", "K02", "H12")
@pytest.mark.ends_operator
async def test_sleepers_that_are_woken_together_start_one_by_one_after_an_outage(labs: Labs, gateway: Gateway) -> None:
    """Two of the namespace may have a pod, and one may start; the messages come while there is no operator."""
    with labs(name=BOUNDED, ends_operator=True) as lab:
        stage = Stage.built(lab, gateway)
        names = [f"sleeper-{number}" for number in range(CROWD)]
        spec = {"sessionStore": {"type": "Embedded"}, "idleTimeoutSeconds": 5}
        await asyncio.gather(*(slept(stage, name, spec) for name in names))

        if THOROUGH:
            since = version(stage)
            assert await asyncio.gather(*(answered(stage, name, 1) for name in names)) == ["answer 1"] * CROWD
            check(stage, since)
            await asyncio.gather(*(asyncio.to_thread(stage.asleep, name) for name in names))

        since = version(stage)
        await asyncio.to_thread(lab.operator.scale, 0)
        try:
            messages = [asyncio.create_task(answered(stage, name, 2)) for name in names]
            await asyncio.gather(*(asyncio.to_thread(lab.until, name, is_asked_for, "the request") for name in names))
        finally:
            await asyncio.to_thread(lab.operator.scale, 1)
        assert await asyncio.gather(*messages) == ["answer 2"] * CROWD
        check(stage, since)
        woken = [lab.session(name) for name in names]
        assert [one["status"]["wakes"] for one in woken] == [size(1, 2)] * CROWD
        assert [lab.model_requests(one) for one in woken] == [size(1, 2)] * CROWD


async def answered(stage: Stage, name: str, number: int) -> str:
    """Say something, again for as long as the gateway asks for that, and return what the session answers."""
    while True:
        async with stage.client(name).call("POST", "/messages", json={"prompt": told(number)}) as answer:
            if answer.status == 200:
                (text,) = said([event async for event in read_events(answer)])
                return text
            assert answer.status == 503, await answer.text()
            await asyncio.sleep(int(answer.headers["Retry-After"]))


def is_asked_for(session: Json) -> bool:
    """Return whether the gateway has asked for a session that nobody has woken yet."""
    status = session["status"]
    return bool(status.get("lastRequestTime") != status.get("answeredRequestTime"))


def version(stage: Stage) -> str:
    """Return from where on the API server is to tell what became of the sessions."""
    listed = stage.lab.api.request("GET", SESSIONS.path(stage.lab.namespace))
    return str(listed["metadata"]["resourceVersion"])


def check(stage: Stage, since: str) -> None:
    """Fail if more than one session was starting at a time, or more than two had a pod, or none had to wait."""
    now: dict[str, Json] = {}
    queued = set()
    for event, session in stage.lab.api.watch(SESSIONS, stage.lab.namespace, 1, resourceVersion=since):
        assert event == "MODIFIED"
        name, status = session["metadata"]["name"], session["status"]
        now[name] = session
        awake = [one for one in now.values() if "host" in one["status"]]
        starting = [one["metadata"]["name"] for one in awake if not is_ready(one)]
        assert len(starting) <= 1, f"{starting} start at the same time"
        assert len(awake) <= 2, [one["metadata"]["name"] for one in awake]
        if place := status.get("queue"):
            queued.add(name)
            assert condition(session, "Ready")["reason"] == "Queued"
            assert 1 <= place["position"] <= CROWD
            assert place["reason"].startswith(f"namespace {BOUNDED} ")
    assert len(queued) >= CROWD - 1
