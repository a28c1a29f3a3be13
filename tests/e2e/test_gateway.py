"""Who gets through the gateway, who does not, and that its own death costs no client a word."""

import asyncio
import io
import json
from collections.abc import Iterator

import aiohttp
import pytest
from yarl import URL

from e2e import manifests
from e2e.api import PODS, ROLE_BINDINGS
from e2e.gateway import TIMEOUT, Event, Gateway, reached, read_events, said
from e2e.lab import Labs
from e2e.operator_pod import NAMESPACE
from e2e.stage import Stage
from e2e.waiting import wait_for


@pytest.fixture(scope="module")
def stage(labs: Labs, gateway: Gateway) -> Iterator[Stage]:
    """Two sessions on two hosts, for all tests of this module."""
    with labs() as lab:
        found = Stage.built(lab, gateway)
        found.pool(replicas=2, sessionsPerHost=4, implicitSessions=True, drainSeconds=20)
        for name in ("alice", "bob"):
            found.session(name, ports=[{"name": "site", "port": 3000}])
        found.running("alice", "bob")
        yield found


@pytest.mark.requirement("H34")
async def test_what_is_not_yours_and_what_is_not_there_look_the_same(stage: Stage) -> None:
    stage.lab.api.apply(manifests.account(stage.lab.namespace, "stranger"))
    stranger = stage.gateway.token(stage.lab.namespace, "stranger")
    before = await asyncio.to_thread(stage.gateway.decisions)
    answers = {
        await stage.client("alice", token=stranger).status("POST", "/messages", json={"prompt": "x"}),
        await stage.client("nobody", token=stranger).status("POST", "/messages", json={"prompt": "x"}),
        await stage.client("nobody").status("POST", "/messages", json={"prompt": "x"}),
        await stage.implicit("abc", token=stranger).status("POST", "/messages", json={"prompt": "x"}),
        await stage.implicit("abc", pool="none").status("POST", "/messages", json={"prompt": "x"}),
    }
    assert len(answers) == 1, answers
    ((status, body),) = answers
    assert status == 404
    assert "problems/not-found" in body
    after = await asyncio.to_thread(stage.gateway.decisions)
    assert after["forbidden"] - before["forbidden"] == 3
    assert after["not-found"] - before["not-found"] == 2


@pytest.mark.requirement("H34")
async def test_without_a_valid_token_nobody_gets_in(stage: Stage) -> None:
    real, before = stage.token, await asyncio.to_thread(stage.gateway.decisions)
    wrong = (" ", "x", real[:-4] + "AAAA", "null")
    for token in wrong:
        status, body = await stage.client("alice", token=token).status()
        assert (status, "unauthenticated" in body) == (401, True), token
    after = await asyncio.to_thread(stage.gateway.decisions)
    assert after["unauthenticated"] - before["unauthenticated"] == len(wrong)
    short = stage.gateway.token(stage.lab.namespace, "app", seconds=600)
    assert (await stage.client("alice", token=short).status())[0] == 200


def refusals(stage: Stage) -> float:
    """Return how many requests the gateways have refused, by Envoy's own count: what it refuses itself is in it."""
    name, labels = "envoy_http_downstream_rq_xx", {"envoy_http_conn_manager_prefix": "clients"}
    wanted = labels | {"envoy_response_code_class": "4"}
    return sum(one.value for one in stage.gateway.envoys() if one.name == name and one.labels == wanted)


TRICKS = (
    *("/../bob", "/%2e%2e/bob", "/.%2E/bob", "/..%2fbob", "/%2fbob", "/%5c..%5cbob", "/\\..\\bob", "/./"),
    *("//", "/%00", "/ports/3000/../../bob", "/ports/3000/..%2f..%2fbob"),
)


@pytest.mark.requirement("H34")
async def test_path_tricks_are_refused_and_counted(stage: Stage) -> None:
    before = await asyncio.to_thread(refusals, stage)
    for tail in TRICKS:
        url = URL(f"{stage.gateway.url}{stage.client('alice').path}{tail}", encoded=True)
        headers = {"Authorization": f"Bearer {stage.token}"}
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as http,
            http.get(url, headers=headers, allow_redirects=False) as answer,
        ):
            assert answer.status == 400, (tail, await answer.text())
    assert await asyncio.to_thread(refusals, stage) - before == len(TRICKS)


@pytest.mark.requirement("H34")
@pytest.mark.parametrize("tail", ["/ports/3001/", "/ports/8000/health", "/suspend", "/messages/", "/Events"])
async def test_what_is_not_offered_is_not_there(stage: Stage, tail: str) -> None:
    assert (await stage.client("alice").status("GET", tail))[0] == 404


@pytest.mark.requirement("H34", "H37")
async def test_headers_that_only_we_may_set_count_for_nothing(stage: Stage) -> None:
    alice, bob = await stage.client("alice").state(), await stage.client("bob").state()
    pod = stage.lab.session("bob")["status"]["host"]["pod"]
    ip = stage.lab.api.get(PODS, stage.lab.namespace, pod)["status"]["podIP"]  # type: ignore[index]
    smuggled = {
        "x-dst": f"{ip}:8000",
        "X-Dst": "127.0.0.1:9000",
        "X-Agentsessions-Token": "forged",
        "X-Agentsessions-Session": bob["sessionId"],
        "X-Agentsessions-Jwt-Payload": "eyJzdWIiOiJhZG1pbiJ9",
        "x-envoy-original-dst-host": f"{ip}:8000",
    }
    for more in ({}, {"Connection": "x-agentsessions-token, x-dst, close"}):
        async with stage.client("alice").call("GET", headers=smuggled | more) as answer:
            assert answer.status == 200
            assert (await answer.json())["sessionId"] == alice["sessionId"]


@pytest.mark.requirement("H34")
async def test_names_that_could_pass_for_ours_are_refused_and_counted(stage: Stage) -> None:
    before = await asyncio.to_thread(refusals, stage)
    for name in ("X_Dst", "x_agentsessions_token", "X-Agentsessions_Session"):
        assert (await stage.client("alice").status(headers={name: "127.0.0.1:9000"}))[0] == 400, name
    assert await asyncio.to_thread(refusals, stage) - before == 3


@pytest.mark.requirement("H34")
async def test_a_pool_that_a_client_names_is_no_way_into_another_namespace(stage: Stage, labs: Labs) -> None:
    """Who may talk to the pools of one namespace names one of it, by a path that leads to another's."""
    with labs() as elsewhere:
        theirs = Stage.built(elsewhere, stage.gateway)
        await asyncio.to_thread(lambda: theirs.pool("secret", replicas=1, sessionsPerHost=1, implicitSessions=True))
        ours = f"{stage.lab.namespace}/../../{elsewhere.namespace}/agentpools/secret"
        url, body = f"{stage.gateway.url}/sessions/abc/messages", {"prompt": manifests.prompt(manifests.say("mine"))}
        headers = {"Authorization": f"Bearer {stage.token}", "X-Agentsessions-Pool": ours}
        async with aiohttp.ClientSession(timeout=TIMEOUT) as http, http.post(url, json=body, headers=headers) as answer:
            assert answer.status == 400, await answer.text()


@pytest.mark.requirement("H34")
async def test_a_message_has_its_limit(stage: Stage) -> None:
    body = json.dumps({"prompt": "x" * (10 * 2**20)}).encode()
    status, text = await stage.client("alice").status("POST", "/messages", data=io.BytesIO(body))
    assert (status, "problems/too-large" in text) == (413, True)


@pytest.mark.requirement("H11", "H25")
async def test_a_site_that_an_agent_serves_is_reached_at_its_own_session_only(stage: Stage) -> None:
    serve = "mkdir -p site && echo 'hello from alice' > site/index.html && cd site && "
    serve += "(setsid python3 -m http.server 3000 --bind 127.0.0.1 >/dev/null 2>&1 &) && "
    serve += "until curl -so /dev/null 127.0.0.1:3000; do sleep 0.1; done; echo served"
    assert "served" in said(await stage.client("alice").say(manifests.bash(serve), manifests.say("{{toolResult}}")))[-1]
    assert await stage.client("alice").status("GET", "/ports/3000/index.html") == (200, "hello from alice\n")
    status, _ = await stage.client("bob").status("GET", "/ports/3000/index.html")
    assert status == 502
    assert (await stage.client("alice").status("GET", "/ports/3001/"))[0] == 404


@pytest.mark.requirement("H25")
async def test_a_websocket_carries_a_conversation(stage: Stage) -> None:
    url = f"{stage.gateway.url}{stage.client('bob').path}/ws"
    async with aiohttp.ClientSession(timeout=TIMEOUT) as http:
        headers = {"Authorization": f"Bearer {stage.token}"}
        async with http.ws_connect(url, headers=headers) as socket:
            await socket.send_json({"type": "message", "prompt": manifests.prompt(manifests.say("by wire"))})
            seen = [Event(one["event"], one["data"], one["id"]) for one in [await socket.receive_json()]]
            while seen[-1].kind != "done":
                one = await socket.receive_json()
                seen.append(Event(one["event"], one["data"], one["id"]))
    assert said(seen) == ["by wire"]


@pytest.mark.requirement("H37")
async def test_an_id_without_a_resource_is_pinned_to_one_host_and_one_user(stage: Stage) -> None:
    first = await stage.implicit("chat-1").say(manifests.say("one"))
    state = await stage.implicit("chat-1").state()
    for way in stage.gateway.urls.values():
        again = await stage.implicit("chat-1", base=way).state()
        assert (again["pid"], again["sessionId"]) == (state["pid"], state["sessionId"])
    assert said(first) == ["one"]
    await asyncio.to_thread(stage.let_in, "other")
    other = stage.gateway.token(stage.lab.namespace, "other")
    await stage.implicit("chat-1", token=other).say(manifests.say("two"))
    theirs = await stage.implicit("chat-1", token=other).state()
    assert theirs["sessionId"] != state["sessionId"]
    assert theirs["prompts"] == 1


@pytest.mark.requirement("H34")
async def test_the_access_log_names_the_session_and_nothing_that_was_said(stage: Stage) -> None:
    uid = stage.lab.session("alice")["metadata"]["uid"]
    await stage.client("alice").say(manifests.say("confidential-answer"), **{"X-Odd": "confidential-header"})
    async with asyncio.timeout(60):  # Envoy writes its log in batches
        while f'"session":"{uid}"' not in (log := await asyncio.to_thread(stage.gateway.logs)):  # noqa: ASYNC110
            await asyncio.sleep(1)
    assert "confidential" not in log
    assert manifests.CANARY not in log
    assert stage.token[-40:] not in log


@pytest.mark.requirement("H34")
async def test_a_right_that_is_taken_back_is_over_within_a_minute(stage: Stage) -> None:
    await asyncio.to_thread(stage.let_in, "guest")
    client = stage.client("alice", token=stage.gateway.token(stage.lab.namespace, "guest"))
    assert (await client.status())[0] == 200
    stage.lab.api.delete(ROLE_BINDINGS, stage.lab.namespace, "guest")
    async with asyncio.timeout(60):
        while (await client.status())[0] != 404:  # noqa: ASYNC110 - what is waited for is the cache's end
            await asyncio.sleep(1)


@pytest.mark.requirement("H11", "K02")
async def test_a_gateway_that_dies_costs_no_client_a_word(stage: Stage) -> None:
    with reached(stage.lab.api, stage.lab.terminal) as ours:
        (doomed, way), (_, other) = list(ours.urls.items())[:2]
        words = [manifests.bash(f"sleep 0.3; echo {n}") for n in range(10)]
        since = (await _last(stage, other)).id
        listening = asyncio.create_task(_until_cut(stage, way, since))
        turn = asyncio.create_task(stage.client("alice", base=other).say(*words, manifests.say("the end")))
        await asyncio.sleep(2)
        stage.lab.api.delete(PODS, NAMESPACE, doomed, gracePeriodSeconds=0)
        whole = await turn
        head = await listening
    with reached(stage.lab.api, stage.lab.terminal) as rest:
        # New requests are answered at once, by whoever is there.
        assert (await stage.client("alice", base=rest.url).status())[0] == 200
        place = head[-1].id if head else since
        tail = await _until_done(stage, rest.url, place)
    numbers = [event.number for event in [*head, *tail]]
    assert numbers == [event.number for event in whole]
    wait_for(stage.lab.api, PODS, NAMESPACE, doomed, lambda pod: pod is None, "the end of the gateway that was killed")


async def _last(stage: Stage, way: str) -> Event:
    return (await stage.client("alice", base=way).say(manifests.say("before")))[-1]


async def _until_cut(stage: Stage, way: str, since: str) -> list[Event]:
    seen: list[Event] = []
    try:
        async with stage.client("alice", base=way).call("GET", "/events", headers={"Last-Event-ID": since}) as answer:
            async for event in read_events(answer):
                seen.append(event)
                if event.kind == "done":
                    break
    except (aiohttp.ClientError, OSError):
        pass
    return seen


async def _until_done(stage: Stage, way: str, place: str) -> list[Event]:
    seen: list[Event] = []
    async with stage.client("alice", base=way).call("GET", "/events", headers={"Last-Event-ID": place}) as answer:
        async for event in read_events(answer):
            seen.append(event)
            if event.kind == "done":
                return seen
    return seen
