"""What the port to the Kubernetes API sends, and what it makes of every answer, or of none."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import formatdate

import pytest
from kubernetes.aio import client

from agentsessions import metrics
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import AlreadyExists, Conflict, KubeError, NotFound, Refused, Transient
from agentsessions.kube.paths import LEASES, NETWORK_POLICIES, PODS, SESSIONS
from contract.apiserver import Answer, ApiServer, api_server, status

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "n", "name": "p"}}
SESSION = {
    "apiVersion": "agentsessions.dev/v1alpha1",
    "kind": "AgentSession",
    "metadata": {"namespace": "n", "name": "s", "uid": "u", "resourceVersion": "7"},
    "status": {"restarts": 1},
}
OK = Answer()


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with api_server() as running:
        yield running


@pytest.fixture
async def kube(server: ApiServer) -> AsyncIterator[Kube]:
    connected = connect(server.url)
    yield connected
    await connected.close()


def connect(url: str) -> Kube:
    """Return a port to a server."""
    return Kube(client.ApiClient(client.Configuration(host=url)))


def counted(verb: str, code: int, resource: str = "pods") -> float:
    """Return how many requests were counted."""
    return metrics.api_requests.labels(verb, resource, str(code))._value.get()


@pytest.mark.parametrize("off", [300.0, -300.0])
async def test_the_time_is_the_api_servers_also_while_it_refuses(server: ApiServer, kube: Kube, off: float) -> None:
    theirs = time.time() + off
    server.says(Answer({"kind": "Status", "message": "no"}, 403, {"Date": formatdate(theirs, usegmt=True)}))
    with pytest.raises(KubeError):
        await kube.get(PODS, "n", "p")
    assert kube.time().timestamp() == pytest.approx(theirs, abs=2)
    assert metrics.clock_ahead._value.get() == pytest.approx(-off, abs=2)


async def test_the_time_is_not_that_of_a_proxy_in_between(server: ApiServer, kube: Kube) -> None:
    server.says(Answer(b"<html>502 Bad Gateway</html>", 502, {"Date": formatdate(time.time() + 3600, usegmt=True)}))
    with pytest.raises(KubeError):
        await kube.get(PODS, "n", "p")
    assert kube.time().timestamp() == pytest.approx(time.time(), abs=2)


# What is sent


async def test_get(server: ApiServer, kube: Kube) -> None:
    server.says(Answer(POD))
    assert await kube.get(PODS, "n", "p") == POD
    (asked,) = server.asked
    assert (asked.verb, asked.path, asked.query, asked.body) == ("GET", "/api/v1/namespaces/n/pods/p", {}, None)
    assert asked.headers["accept"] == "application/json"
    assert asked.headers["user-agent"] == "agentsessions-operator"


async def test_create(server: ApiServer, kube: Kube) -> None:
    server.says(Answer({**POD, "status": {}}, 201))
    assert await kube.create(PODS, POD) == {**POD, "status": {}}
    (asked,) = server.asked
    assert (asked.verb, asked.path) == ("POST", "/api/v1/namespaces/n/pods")
    assert asked.query == {"fieldManager": "agentsessions"}
    assert asked.headers["content-type"] == "application/json"
    assert asked.body == POD


async def test_apply_is_server_side_and_takes_ownership(server: ApiServer, kube: Kube) -> None:
    policy = {**POD, "kind": "NetworkPolicy", "spec": {"egress": []}}
    server.says(OK)
    await kube.apply(NETWORK_POLICIES, policy)
    (asked,) = server.asked
    assert (asked.verb, asked.path) == ("PATCH", "/apis/networking.k8s.io/v1/namespaces/n/networkpolicies/p")
    assert asked.query == {"fieldManager": "agentsessions", "force": "true"}
    assert asked.headers["content-type"] == "application/apply-patch+yaml"
    assert asked.body == policy


async def test_a_status_is_applied_to_the_subresource_with_the_version_it_was_made_from(
    server: ApiServer, kube: Kube
) -> None:
    server.says(OK)
    await kube.apply(SESSIONS, SESSION, manager="agentsessions-status", subresource="status")
    (asked,) = server.asked
    assert asked.path == "/apis/agentsessions.dev/v1alpha1/namespaces/n/agentsessions/s/status"
    assert asked.query == {"fieldManager": "agentsessions-status", "force": "true"}
    assert asked.body["metadata"]["resourceVersion"] == "7"


async def test_finalizers_are_merged_into_the_object_that_was_read(server: ApiServer, kube: Kube) -> None:
    server.says(OK)
    patch = {"metadata": {"uid": "u", "resourceVersion": "7", "finalizers": ["a"]}}
    await kube.merge(SESSIONS, "n", "s", patch, manager="agentsessions")
    (asked,) = server.asked
    assert (asked.verb, asked.path) == ("PATCH", "/apis/agentsessions.dev/v1alpha1/namespaces/n/agentsessions/s")
    assert asked.query == {"fieldManager": "agentsessions"}
    assert asked.headers["content-type"] == "application/merge-patch+json"
    assert asked.body == patch


async def test_what_nobody_will_confirm_is_deleted_without_grace(server: ApiServer, kube: Kube) -> None:
    server.says(OK)
    await kube.delete(PODS, "n", "p", grace=0, uid="u")
    assert server.asked[0].body["gracePeriodSeconds"] == 0


async def test_delete_sends_its_preconditions(server: ApiServer, kube: Kube) -> None:
    server.says(OK)
    await kube.delete(PODS, "n", "p", uid="u", resourceVersion="9")
    (asked,) = server.asked
    assert (asked.verb, asked.path) == ("DELETE", "/api/v1/namespaces/n/pods/p")
    assert asked.body == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u", "resourceVersion": "9"},
    }


async def test_list_everywhere_with_selectors(server: ApiServer, kube: Kube) -> None:
    server.says(Answer({"metadata": {}, "items": [POD]}))
    assert await kube.list(PODS, labelSelector="a=b,c", fieldSelector="x.y=z") == [POD]
    (asked,) = server.asked
    assert asked.path == "/api/v1/pods"
    assert asked.query == {"limit": "500", "labelSelector": "a=b,c", "fieldSelector": "x.y=z"}


async def test_list_asks_for_page_after_page(server: ApiServer, kube: Kube) -> None:
    pages = [("1", "token=/+1"), ("2", "two"), ("3", "")]
    server.says(*(Answer({"metadata": {"continue": more}, "items": [item]}) for item, more in pages))
    assert list(await kube.list(PODS, "n", labelSelector="a")) == ["1", "2", "3"]
    assert [asked.query.get("continue") for asked in server.asked] == [None, "token=/+1", "two"]
    assert {asked.query["labelSelector"] for asked in server.asked} == {"a"}
    assert {asked.path for asked in server.asked} == {"/api/v1/namespaces/n/pods"}


@pytest.mark.parametrize("items", [[], None])
async def test_an_empty_list(items: object, server: ApiServer, kube: Kube) -> None:
    server.says(Answer({"metadata": {}, "items": items}))
    assert list(await kube.list(PODS)) == []


async def test_an_audit_asks_for_metadata_only(server: ApiServer, kube: Kube) -> None:
    server.says(Answer({"metadata": {}, "items": []}))
    await kube.list(PODS, metadata_only=True)
    assert server.asked[0].headers["accept"] == "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


async def test_prompts_beyond_ascii_arrive_whole(server: ApiServer, kube: Kube) -> None:
    server.says(OK)
    await kube.create(PODS, {**POD, "data": "ünïcode ☃ \U0001f600"})
    assert server.asked[0].body["data"] == "ünïcode ☃ \U0001f600"


# What comes back


async def test_what_does_not_exist_is_none(server: ApiServer, kube: Kube) -> None:
    server.says(Answer(status(404, "NotFound"), 404))
    assert await kube.get(PODS, "n", "p") is None


async def test_deleting_what_is_gone_is_no_error(server: ApiServer, kube: Kube) -> None:
    server.says(Answer(status(404, "NotFound"), 404))
    await kube.delete(PODS, "n", "p", uid="u")


Call = Callable[[Kube], Awaitable[object]]
CALLS: dict[str, Call] = {
    "list": lambda kube: kube.list(PODS, "n"),
    "create": lambda kube: kube.create(PODS, POD),
    "apply": lambda kube: kube.apply(PODS, POD),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_namespace_that_is_gone(call: str, server: ApiServer, kube: Kube) -> None:
    server.says(Answer(status(404, "NotFound"), 404))
    with pytest.raises(NotFound):
        await CALLS[call](kube)


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        pytest.param(409, "AlreadyExists", AlreadyExists, id="409-already-exists"),
        pytest.param(409, "Conflict", Conflict, id="409-conflict"),
        pytest.param(400, "BadRequest", Refused, id="400"),
        pytest.param(403, "Forbidden", Refused, id="403"),
        pytest.param(413, "RequestEntityTooLarge", Refused, id="413"),
        pytest.param(422, "Invalid", Refused, id="422"),
        pytest.param(401, "Unauthorized", Transient, id="401"),
        pytest.param(410, "Expired", Transient, id="410"),
        pytest.param(500, "InternalError", Transient, id="500"),
        pytest.param(503, "ServiceUnavailable", Transient, id="503"),
    ],
)
async def test_refusals_are_errors_with_the_servers_own_words(
    code: int, reason: str, error: type[KubeError], server: ApiServer, kube: Kube
) -> None:
    server.says(Answer(status(code, reason, "quota exceeded"), code))
    with pytest.raises(KubeError) as caught:
        await kube.create(PODS, POD)
    assert type(caught.value) is error
    assert (caught.value.code, caught.value.reason, caught.value.message) == (code, reason, "quota exceeded")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param("7", 7.0, id="seconds"),
        pytest.param("Wed, 21 Oct 2026 07:28:00 GMT", None, id="date"),
        pytest.param("-1", None, id="nonsense"),
        pytest.param(None, None, id="none"),
    ],
)
async def test_retry_after(header: str | None, seconds: float | None, server: ApiServer, kube: Kube) -> None:
    headers = {"Retry-After": header} if header else {}
    server.says(Answer(status(429, "TooManyRequests"), 429, headers))
    with pytest.raises(Transient) as caught:
        await kube.create(PODS, POD)
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(b"<html>502 Bad Gateway</html>", "Bad Gateway", id="html"),
        pytest.param(b"", "", id="nothing"),
        pytest.param(b"[1, 2]", "[1, 2]", id="not-an-object"),
        pytest.param(b"\xff\xfe" + b"x" * 9000, "x", id="not-text"),
    ],
)
async def test_a_proxy_that_answers_in_its_own_way(body: bytes, words: str, server: ApiServer, kube: Kube) -> None:
    server.says(Answer(body, 502))
    with pytest.raises(Transient) as caught:
        await kube.create(PODS, POD)
    assert words in caught.value.message
    assert len(caught.value.message) <= 200


async def test_no_server(kube: Kube) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = connect(f"http://127.0.0.1:{free.getsockname()[1]}")
        before = counted("GET", 0)
        with pytest.raises(Transient) as caught:
            await nobody.get(PODS, "n", "p")
        await nobody.close()
    assert caught.value.code == 0
    assert counted("GET", 0) == before + 1


async def test_a_server_that_does_not_answer(server: ApiServer, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentsessions.kube.client._TIMEOUT_SECONDS", 0.05)
    server.says(Answer(hang=True))
    with pytest.raises(Transient) as caught:
        await kube.list(PODS)
    assert caught.value.code == 0


async def test_an_answer_that_breaks_off(server: ApiServer, kube: Kube) -> None:
    server.says(Answer(cut=True))
    with pytest.raises(Transient) as caught:
        await kube.list(PODS)
    assert caught.value.code == 0


async def test_every_request_is_counted_by_verb_resource_and_code(server: ApiServer, kube: Kube) -> None:
    before = counted("POST", 201), counted("POST", 409), counted("GET", 404)
    server.says(Answer(POD, 201), Answer(status(409, "AlreadyExists"), 409), Answer(status(404, "NotFound"), 404))
    await kube.create(PODS, POD)
    with pytest.raises(AlreadyExists):
        await kube.create(PODS, POD)
    await kube.get(PODS, "n", "p")
    after = counted("POST", 201), counted("POST", 409), counted("GET", 404)
    assert [a - b for a, b in zip(after, before, strict=True)] == [1, 1, 1]


# How fast


async def test_a_429_that_says_for_how_long_stops_all_requests_for_that_time(server: ApiServer, kube: Kube) -> None:
    busy = Answer(status(429, "TooManyRequests"), 429, headers={"Retry-After": "1"})
    server.says(busy, OK, OK)
    began = time.monotonic()
    with pytest.raises(Transient):
        await kube.create(PODS, POD)
    await asyncio.gather(kube.get(PODS, "n", "p"), kube.delete(PODS, "n", "p"))
    assert time.monotonic() - began >= 1


async def test_a_lease_does_not_wait_behind_anything(server: ApiServer, kube: Kube) -> None:
    kube.pace.pause(30)
    server.says(OK)
    await asyncio.wait_for(kube.get(LEASES, "n", "l"), 5)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(kube.get(PODS, "n", "p"), 0.1)
    assert len(server.asked) == 1


@pytest.mark.parametrize("code", [429, 500])
async def test_trouble_that_does_not_say_for_how_long_stops_nobody_else(
    code: int, server: ApiServer, kube: Kube
) -> None:
    trouble = Answer(status(code, "Trouble"), code)
    server.says(trouble, trouble, OK)
    with pytest.raises(Transient):
        await kube.get(PODS, "n", "p")
    await asyncio.wait_for(kube.get(PODS, "n", "p"), 1)


async def test_whether_it_may_write_is_asked_when_its_turn_has_come(server: ApiServer, kube: Kube) -> None:
    kube.pace.pause(0.2)
    writing = asyncio.create_task(kube.delete(PODS, "n", "p"))
    await asyncio.sleep(0.05)
    kube.may_write = lambda: False
    with pytest.raises(Transient, match="another replica"):
        await writing
    assert server.asked == []
