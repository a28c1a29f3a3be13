"""Who gets into a host: every call asks for a token of the control plane, and what is refused is counted."""

import io
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from yarl import URL

from agent.host import ControlPlane, Host
from agent.model import Model, script
from agentsessions.api.host import PROBLEM_PREFIX, Scope

pytestmark = pytest.mark.timeout(180)

OTHER = "00000000-0000-4000-8000-000000000000"
OF_SESSIONS = [
    ("GET", ""),
    ("POST", "/messages"),
    ("GET", "/events"),
    ("GET", "/ws"),
    ("POST", "/interrupt"),
    ("GET", "/transcript"),
    ("GET", "/ports/3000/"),
]
OF_THE_HOST = [
    ("GET", "/sessions"),
    ("GET", "/events"),
    ("PUT", "/sessions/{id}"),
    ("DELETE", "/sessions/{id}"),
    ("POST", "/sessions/{id}/suspend"),
]


@pytest.fixture
async def host(tmp_path: Path, model: Model) -> AsyncIterator[Host]:
    """Return a running host."""
    found = Host(tmp_path, model.url, sessionsPerHost=2)
    await found.start()
    try:
        yield found
    finally:
        await found.destroy()


async def refused(host: Host) -> float:
    """Return how many calls the host has refused."""
    async with host.call("GET", "/metrics", "") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("agentsessions_host_refused_total{"))


async def answers(host: Host, calls: list[tuple[str, str]], token: str) -> dict[str, tuple[int, str]]:
    """Return status and problem of each call."""
    out = {}
    for verb, path in calls:
        status, body = await host.json(verb, path, token)
        out[f"{verb} {path}"] = (status, str(body.get("type", "")).removeprefix(PROBLEM_PREFIX))
    return out


def tokens(host: Host, session_id: str) -> dict[str, tuple[str, tuple[int, str]]]:
    """Return tokens that open nothing, each with what its bearer gets."""
    plane, now = host.plane, int(time.time())
    good = plane.token(Scope.SESSION, session_id)
    head, claims, _ = good.split(".")
    return {
        "none": ("", (401, "no-token")),
        "nonsense": ("x.y.z", (401, "bad-token")),
        "forged": (ControlPlane(plane.pod_uid).token(Scope.SESSION, session_id), (401, "bad-token")),
        "unsigned": (f"{head}.{claims}.", (401, "bad-token")),
        "expired": (plane.token(Scope.SESSION, session_id, iat=now - 90, exp=now - 31), (401, "expired-token")),
        "from the future": (plane.token(Scope.SESSION, session_id, iat=now + 90, exp=now + 150), (401, "bad-token")),
        "long-lived": (plane.token(Scope.SESSION, session_id, exp=now + 3600), (401, "long-lived-token")),
        "of nobody": (plane.token(Scope.SESSION, session_id, iss="elsewhere"), (401, "bad-token")),
        "without an end": (plane.token(Scope.SESSION, session_id, exp=None), (401, "bad-token")),
        "of no scope": (plane.token("everything", session_id), (401, "wrong-scope")),
        "for another pod": (plane.token(Scope.SESSION, session_id, aud=str(uuid4())), (421, "misdirected")),
    }


@pytest.mark.requirement("H25", "H37")
async def test_every_call_is_refused_to_a_wrong_token_and_counted(host: Host) -> None:
    talk = await host.give()
    at = f"/sessions/{talk.session_id}"
    calls = [(verb, at + tail) for verb, tail in OF_SESSIONS]
    calls += [(verb, path.format(id=talk.session_id)) for verb, path in OF_THE_HOST]
    for name, (token, expected) in tokens(host, talk.session_id).items():
        before = await refused(host)
        assert await answers(host, calls, token) == {f"{verb} {path}": expected for verb, path in calls}, name
        assert await refused(host) - before == len(calls), name
    assert (await talk.state())["prompts"] == 0


@pytest.mark.requirement("H25", "H37")
async def test_a_token_of_one_session_opens_no_other_and_nothing_of_the_hosts(host: Host) -> None:
    one, two = await host.give(), await host.give()
    before = await refused(host)
    calls = [(verb, f"/sessions/{two.session_id}{tail}") for verb, tail in OF_SESSIONS if "ports" not in tail]
    assert set((await answers(host, calls, one.token)).values()) == {(403, "wrong-session")}
    rest = [("GET", f"/sessions/{one.session_id}/ports/3000/")]
    rest += [(verb, path.format(id=one.session_id)) for verb, path in OF_THE_HOST]
    assert set((await answers(host, rest, one.token)).values()) == {(403, "wrong-scope")}
    assert await refused(host) - before == len(calls) + len(rest)


async def test_who_may_watch_may_watch_only(host: Host) -> None:
    talk = await host.give()
    token = host.plane.token(Scope.WATCH)
    assert (await host.json("GET", "/sessions", token))[0] == 200
    calls = [(verb, f"/sessions/{talk.session_id}{tail}") for verb, tail in OF_SESSIONS]
    calls += [(verb, path.format(id=talk.session_id)) for verb, path in OF_THE_HOST if "{id}" in path]
    assert {status for status, _ in (await answers(host, calls, token)).values()} == {403}


async def test_who_may_use_a_port_may_use_that_port_only(host: Host) -> None:
    talk = await host.give()
    token = host.plane.token(Scope.PORTS, talk.session_id, port=3000)
    at = f"/sessions/{talk.session_id}"
    found = await answers(host, [("GET", f"{at}/ports/3001/"), ("GET", f"{at}/ports/3000/"), ("GET", at)], token)
    assert [slug for _, slug in found.values()] == ["wrong-port", "port-not-served", "wrong-scope"]


@pytest.mark.requirement("H37")
async def test_a_session_that_the_host_was_not_given_is_not_there_whatever_the_token(host: Host) -> None:
    """Clients, who are sent here by a gateway that is a moment behind, are told to come again."""
    calls = [(verb, f"/sessions/{OTHER}{tail}") for verb, tail in OF_SESSIONS if "ports" not in tail]
    token = host.plane.token(Scope.SESSION, OTHER)
    assert set((await answers(host, calls, token)).values()) == {(503, "session-not-ready")}
    assert set((await answers(host, calls, host.plane.token(Scope.HOST))).values()) == {(404, "session-not-found")}
    # A pool that does not serve ids without a resource makes none.
    implicit = host.plane.token(Scope.IMPLICIT, OTHER, ns="team", name="chat-1")
    assert set((await answers(host, calls, implicit)).values()) == {(403, "implicit-disabled")}
    assert (await host.json("GET", "/sessions"))[1]["sessions"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/sessions/../health",
        "/sessions/%2e%2e/health",
        "//sessions/-",
        "/sessions//",
        "/sessions/-/../-",
        "/%2fsessions/-",
    ],
)
async def test_an_odd_path_leads_nowhere(host: Host, path: str) -> None:
    talk = await host.give()
    async with host.call("GET", "/health", talk.token) as answer:
        base = str(answer.url.origin())
    assert host.http is not None
    url = URL(base + path, encoded=True)
    async with host.http.get(url, headers={"X-Agentsessions-Token": talk.token}) as answer:
        assert answer.status in (400, 403, 404), await answer.text()


async def test_a_message_has_its_limit(host: Host) -> None:
    talk = await host.give()
    body = json.dumps({"prompt": "x" * (10 * 2**20)}).encode()
    async with talk.open("POST", "/messages", data=io.BytesIO(body)) as answer:
        assert (answer.status, "problems/too-large" in await answer.text()) == (413, True)
    assert (await talk.say(script({"text": "still here"})))[-1].kind == "done"
