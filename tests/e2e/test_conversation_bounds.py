"""A conversation whose model fails, whose process grows old, and that is too old itself: each is told; it goes on."""

import asyncio
from datetime import datetime

import pytest

from e2e.api import SESSIONS, Json, condition
from e2e.gateway import said
from e2e.manifests import bash, say
from e2e.sleepers import slept, told
from e2e.stage import Stage
from e2e.stores import redis_store
from standin.conversation import digest

_OVERLOADED = {"error": {"status": 529}}


@pytest.mark.timeout(300)
@pytest.mark.requirement("H50", "H51")
async def test_a_conversation_outlives_its_models_failure_its_process_and_its_age(stage: Stage) -> None:
    lab, name = stage.lab, "old"
    store = (await asyncio.to_thread(redis_store, lab)).given_to(lab)
    limits = {"recycleAgeSeconds": 1}
    await slept(stage, name, {"sessionStore": store, "agent": {"maxApiRetries": 1}, "limits": limits})
    client = stage.client(name)
    failed = await client.say(_OVERLOADED)
    assert (failed[-1].kind, failed[-1].data["reason"]) == ("done", "ModelUnavailable")
    assert lab.model_requests(lab.session(name)) == 2, "the first try, and one more"
    await asyncio.to_thread(lab.event, name, "ModelUnavailable")
    assert said(await client.say(bash("sleep 2"), say("answer 0")))[-1] == "answer 0"
    async with asyncio.timeout(60):
        while not (await client.state()).get("restarts"):  # noqa: ASYNC110 - its host has no event for this
            await asyncio.sleep(0.2)
    born = datetime.fromisoformat(lab.session(name)["metadata"]["creationTimestamp"])
    age = int((datetime.now(born.tzinfo) - born).total_seconds())
    lab.api.patch(SESSIONS, lab.namespace, name, {"spec": {"limits": {"maxAgeSeconds": age}}})
    over = await asyncio.to_thread(lab.reason, name, "AgeLimitReached")
    assert condition(over, "Stalled")["status"] == "True"
    await client.refused("age-limit-reached")
    lab.api.patch(SESSIONS, lab.namespace, name, {"spec": {"limits": {"maxAgeSeconds": age + 3600}}})
    await asyncio.to_thread(lab.until, name, is_free, "its going on")
    assert said(await client.insist(told(1))) == ["answer 1"]
    # The message that failed and the one after it, with no answer between them, are one to the CLI.
    assert [one == digest(told(1)) for one in lab.model_heard(lab.session(name))] == [False, True]


def is_free(session: Json) -> bool:
    """Return whether nothing keeps a session from going on."""
    return bool(condition(session, "Stalled").get("status") != "True")
