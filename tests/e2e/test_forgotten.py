"""`onDelete: Delete`: what a session has stored goes with it, out of every store; and no deletion waits for ever."""

import asyncio
from contextlib import suppress

import pytest

from e2e import manifests
from e2e.api import NAMESPACES, SESSIONS, ApiError, Json
from e2e.lab import Lab, Labs
from e2e.operator_pod import NAMESPACE as SYSTEM
from e2e.sizes import THOROUGH
from e2e.stage import Stage
from e2e.stores import Opened, postgres_store, redis_store, s3_store
from e2e.waiting import wait_for

FINALIZER = "agentsessions.dev/stored-conversation"
DELETE = {"onDelete": "Delete"}
SECONDS = 100
"""How long kubectl waits; a deletion that is given up takes 150."""


async def said_once(stage: Stage, name: str, store: Json, **spec: object) -> Json:
    """Apply a Hybrid session, talk to it, and return it while it is awake."""
    await asyncio.to_thread(lambda: stage.hybrid(name, sessionStore=store, **spec))
    await stage.client(name).say_text(manifests.prompt(manifests.say("answer")))
    return await asyncio.to_thread(stage.lab.reason, name, "Running")


async def stored(stage: Stage, name: str, store: Json, **spec: object) -> Json:
    """Apply a Hybrid session, talk to it, and return it when it sleeps."""
    await said_once(stage, name, store, idleTimeoutSeconds=5, **spec)
    return await asyncio.to_thread(stage.asleep, name)


def uid_of(session: Json) -> str:
    """Return what every key of the session has in it."""
    return str(session["metadata"]["uid"])


def delete(lab: Lab, session: Json, *how: str, seconds: int = SECONDS) -> None:
    """Delete a session as a person does: kubectl comes back when it is gone, and nothing is left of it."""
    name = session["metadata"]["name"]
    lab.terminal.kubectl("delete", SESSIONS.plural, name, "-n", lab.namespace, f"--timeout={seconds}s", *how)
    lab.without_children(session)


@pytest.mark.timeout(600)
@pytest.mark.requirement("H03")
@pytest.mark.parametrize("opened", [redis_store, postgres_store, s3_store])
async def test_what_is_stored_goes_with_its_session_and_stays_with_its_neighbour(stage: Stage, opened: Opened) -> None:
    store = await asyncio.to_thread(opened, stage.lab)
    gone, kept = await asyncio.gather(
        stored(stage, f"gone-{store.kind.name}", store.given_to(stage.lab, **DELETE)),
        stored(stage, f"kept-{store.kind.name}", store.given_to(stage.lab)),
    )
    assert gone["metadata"]["finalizers"] == [FINALIZER]
    assert "finalizers" not in kept["metadata"]
    assert store.mentions(uid_of(gone))
    for session in (gone, kept):
        await asyncio.to_thread(delete, stage.lab, session)
    assert store.mentions(uid_of(gone)) == []
    assert store.mentions(uid_of(kept))


@pytest.mark.timeout(600)
@pytest.mark.requirement("H03")
async def test_the_archived_workspace_goes_too(stage: Stage) -> None:
    redis = await asyncio.to_thread(redis_store, stage.lab)
    bucket = await asyncio.to_thread(s3_store, stage.lab)
    stage.lab.api.apply(bucket.secret(stage.lab.namespace))
    store, workspace = redis.given_to(stage.lab, **DELETE), {"archive": bucket.archive()}
    session = await stored(stage, "packed", store, workspace=workspace)
    assert session["status"]["archive"]["generation"] == 1
    assert bucket.mentions(uid_of(session))
    await asyncio.to_thread(delete, stage.lab, session)
    assert (redis.mentions(uid_of(session)), bucket.mentions(uid_of(session))) == ([], [])


@pytest.mark.timeout(600)
@pytest.mark.requirement("H03", "K01")
async def test_the_workspace_of_one_that_is_awake_is_archived_before_its_pod_ends_where_it_is_retained(
    stage: Stage,
) -> None:
    redis = await asyncio.to_thread(redis_store, stage.lab)
    bucket = await asyncio.to_thread(s3_store, stage.lab)
    stage.lab.api.apply(bucket.secret(stage.lab.namespace))
    workspace = {"archive": bucket.archive()}
    session = await said_once(stage, "unpacked", redis.given_to(stage.lab), workspace=workspace)
    assert bucket.mentions(uid_of(session)) == [], "it has never slept"
    await asyncio.to_thread(delete, stage.lab, session)
    assert redis.mentions(uid_of(session))
    kept = bucket.mentions(uid_of(session))
    assert any("manifest" in name for name in kept), kept


@pytest.mark.timeout(600)
@pytest.mark.requirement("H03", "H12")
async def test_one_that_nobody_talks_to_any_more_goes_by_itself(stage: Stage) -> None:
    """`ttlSecondsAfterIdle`: and with it what it has stored, as its store says."""
    redis = await asyncio.to_thread(redis_store, stage.lab)
    session = await stored(stage, "brief", redis.given_to(stage.lab, **DELETE), ttlSecondsAfterIdle=10)
    await asyncio.to_thread(stage.lab.gone, SESSIONS, "brief")
    assert stage.lab.event("brief", "Expired")["type"] == "Normal"
    stage.lab.without_children(session)
    assert redis.mentions(uid_of(session)) == []


@pytest.mark.timeout(600)
@pytest.mark.requirement("H03", "K01")
@pytest.mark.parametrize("how", ["background", "foreground"])
async def test_one_that_is_awake_writes_nothing_after_it_is_forgotten(stage: Stage, how: str) -> None:
    redis = await asyncio.to_thread(redis_store, stage.lab)
    session = await said_once(stage, f"awake-{how}", redis.given_to(stage.lab, **DELETE))
    assert redis.mentions(uid_of(session))
    await asyncio.to_thread(delete, stage.lab, session, f"--cascade={how}")
    assert redis.mentions(uid_of(session)) == []
    await asyncio.sleep(5)
    assert redis.mentions(uid_of(session)) == []


@pytest.mark.timeout(600)
@pytest.mark.requirement("H02", "H03")
async def test_one_on_a_host_of_a_pool_goes_from_there_first(stage: Stage) -> None:
    redis = await asyncio.to_thread(redis_store, stage.lab)
    stage.lab.api.apply(
        manifests.template(stage.lab.namespace, "forgetful", sessionStore=redis.given_to(stage.lab, **DELETE))
    )
    await asyncio.to_thread(lambda: stage.pool("warm", sessionsPerHost=3, templateRef={"name": "forgetful"}))
    stage.session("guest", "warm")
    await asyncio.to_thread(stage.running, "guest")
    await stage.client("guest").say_text(manifests.prompt(manifests.say("answer")))
    session = stage.lab.session("guest")
    assert session["metadata"]["finalizers"] == [FINALIZER]
    assert redis.mentions(uid_of(session))
    await asyncio.to_thread(delete, stage.lab, session)
    assert redis.mentions(uid_of(session)) == []
    assert len(stage.hosts("warm")) == 1


@pytest.mark.timeout(600)
@pytest.mark.requirement("H03")
async def test_the_embedded_store_forgets_as_well(stage: Stage) -> None:
    find = 'REDISCLI_AUTH=$(cat /tmp/password) valkey-cli --scan --pattern "*$1*"'

    def mentions(uid: str) -> str:
        pod = "agentsessions-embedded-store-0"
        return stage.lab.terminal.execute(SYSTEM, pod, "sh", "-c", find, "sh", uid).strip()

    session = await stored(stage, "beginner", {"type": "Embedded", **DELETE})
    assert mentions(uid_of(session))
    await asyncio.to_thread(delete, stage.lab, session)
    assert mentions(uid_of(session)) == ""


@pytest.mark.timeout(600)
@pytest.mark.requirement("H03")
async def test_one_that_never_said_anything_goes_at_once_without_a_pod(stage: Stage) -> None:
    redis = await asyncio.to_thread(redis_store, stage.lab)
    session = await asyncio.to_thread(lambda: stage.hybrid("silent", sessionStore=redis.given_to(stage.lab, **DELETE)))
    await asyncio.to_thread(delete, stage.lab, session, seconds=60)
    assert stage.lab.witness.of(uid_of(session)) == []


@pytest.mark.timeout(600)
@pytest.mark.requirement("H03", "K01")
async def test_a_store_that_refuses_holds_nobody_up_and_is_told_of(stage: Stage) -> None:
    redis = await asyncio.to_thread(redis_store, stage.lab)
    stage.lab.api.apply(manifests.secret(stage.lab.namespace, "changed", **redis.credentials()))
    store = redis.session_store(secretRef={"name": "changed"}, **DELETE)
    session = await stored(stage, "locked", store)
    wrong = {"url": f"redis://:wrong@{redis.host}:6379/0"}
    stage.lab.api.apply(manifests.secret(stage.lab.namespace, "changed", **wrong))
    await asyncio.to_thread(delete, stage.lab, session)
    note = stage.lab.event("locked", "ConversationKept")["note"]
    assert "refused user or password" in note
    assert f"agentrunner store delete --type Redis --prefix agentsessions/{stage.lab.namespace}" in note
    assert redis.mentions(uid_of(session))


@pytest.mark.skipif(not THOROUGH, reason="a store is waited for for minutes: `make test-thorough` does")
@pytest.mark.timeout(900)
@pytest.mark.requirement("H03", "K01", "K02")
async def test_with_the_store_stopped_a_session_and_a_namespace_end_all_the_same(stage: Stage, labs: Labs) -> None:
    with labs() as other_lab:
        other = Stage.built(other_lab, stage.gateway)
        redis = await asyncio.to_thread(redis_store, stage.lab)
        session, _ = await asyncio.gather(
            stored(stage, "unlucky", redis.given_to(stage.lab, **DELETE)),
            said_once(other, "left", redis.given_to(other_lab, **DELETE)),
        )
        with redis.stopped():
            with suppress(ApiError):
                other_lab.api.delete(NAMESPACES, None, other_lab.namespace)
            await asyncio.to_thread(delete, stage.lab, session, seconds=280)
            await asyncio.to_thread(_until_gone, other_lab)
        assert "cannot be reached" in stage.lab.event("unlucky", "ConversationKept")["note"]


def _until_gone(lab: Lab) -> None:
    wait_for(lab.api, NAMESPACES, None, lab.namespace, lambda found: found is None, "the end of the namespace", 280)
