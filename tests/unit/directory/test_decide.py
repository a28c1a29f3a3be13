"""Decisions on requests: who gets in, where they are sent, and what the others are told."""

import asyncio
import base64
import json
from typing import Any
from uuid import uuid4

import pytest

from agentsessions.api.base import Json
from agentsessions.directory.config import DirectoryConfig, Oidc
from agentsessions.directory.identity import User, from_claims, protocols
from agentsessions.directory.whereabouts import implicit_id
from agentsessions.directory.world import PoolView
from unit.directory.stage import AT, POOL_UID, UID, Stage, session


@pytest.mark.requirement("H34", "H37")
async def test_who_may_is_sent_to_the_pod_with_a_token_for_it() -> None:
    stage = Stage()
    status, outcome, found = await stage.ask()
    assert (status, outcome) == (200, "allowed")
    assert found.headers["x-dst"] == "10.0.0.7:8000"
    claims = stage.claims(found)
    assert (claims["sub"], claims["scope"]) == (UID, "session")
    assert claims["exp"] - claims["iat"] <= 120


async def test_a_port_has_a_token_of_its_own_and_only_if_declared() -> None:
    stage = Stage()
    _, _, found = await stage.ask(f"{AT}/ports/3000/x")
    assert (stage.claims(found)["scope"], stage.claims(found)["port"]) == ("ports", 3000)
    assert found.headers["x-agentsessions-prefix"] == f"{AT}/ports/3000"
    assert (await stage.ask(f"{AT}/ports/3001/"))[0] == 404


async def test_not_yours_and_not_there_get_the_same_answer() -> None:
    stage = Stage()
    stranger, missing = (await stage.ask(token="stranger"))[2], (await stage.ask(AT + "x"))[2]
    assert (stranger.status, stranger.headers, stranger.body) == (missing.status, missing.headers, missing.body)
    assert (stranger.outcome, missing.outcome) == ("forbidden", "not-found")


@pytest.mark.parametrize("token", ["", "nonsense"])
async def test_without_a_valid_token_it_is_401(token: str) -> None:
    assert (await Stage().ask(token=token))[:2] == (401, "unauthenticated")


async def test_answers_of_kubernetes_are_kept_and_many_ask_once() -> None:
    stage = Stage()
    await asyncio.gather(*(stage.ask() for _ in range(20)))
    await stage.ask()
    assert sorted(stage.cluster.asked) == ["subjectaccessreviews", "tokenreviews"]


async def test_an_answer_that_failed_is_not_kept() -> None:
    stage = Stage()
    stage.cluster.down = True
    assert (await stage.ask())[:2] == (503, "control-plane-unavailable")
    stage.cluster.down = False
    assert (await stage.ask())[0] == 200


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"finished": True}, (410, "session-finished")),
        ({"deleting": True}, (404, "not-found")),
        ({"stalled": True, "reason": "TranscriptMissing"}, (503, "session-stalled")),
        ({"reason": "HostNotReady"}, (503, "session-not-ready")),
        ({"pod_uid": str(uuid4())}, (503, "session-not-ready")),
    ],
)
async def test_a_session_that_cannot_answer_says_why(change: Json, expected: tuple[int, str]) -> None:
    stage = Stage()
    stage.world.session(("team", "one"), session(**change))
    assert (await stage.ask())[:2] == expected


async def test_a_request_waits_for_a_session_on_its_way() -> None:
    stage = Stage(config=DirectoryConfig(hold_seconds=30))
    stage.world.session(("team", "one"), session(reason="Starting"))
    waiting = asyncio.create_task(stage.ask())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    stage.world.session(("team", "one"), session())
    assert (await waiting)[0] == 200


async def test_only_so_many_wait_for_one_session() -> None:
    stage = Stage(config=DirectoryConfig(hold_seconds=30, max_held_per_session=2))
    stage.world.session(("team", "one"), session(reason="Starting"))
    waiting = [asyncio.create_task(stage.ask()) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert (await stage.ask())[:2] == (503, "session-not-ready")
    stage.world.session(("team", "one"), session())
    assert [(await one)[0] for one in waiting] == [200, 200]


async def test_an_id_without_a_resource_is_another_session_for_another_user() -> None:
    stage = Stage()
    path = "/v1/namespaces/team/pools/chat/sessions/abc/messages"
    first, again = [stage.claims((await stage.ask(path, "POST"))[2]) for _ in range(2)]
    assert first["sub"] == again["sub"]
    assert (first["scope"], first["name"], first["ns"]) == ("implicit", "abc", "team")
    assert implicit_id(POOL_UID, User("app"), "abc") == first["sub"]
    assert implicit_id(POOL_UID, User("late"), "abc") != first["sub"]


@pytest.mark.requirement("H34")
async def test_a_pool_that_a_client_names_is_one_of_the_namespace_in_which_it_was_asked_for() -> None:
    stage = Stage()
    ask = {"x-agentsessions-pool": "team/chat"}
    assert (await stage.ask("/sessions/abc/messages", "POST", **ask))[0] == 200
    for elsewhere in ("team/../../others/agentpools/theirs", "team/x/../chat", "../others/theirs"):
        found = await stage.ask("/sessions/abc/messages", "POST", **{"x-agentsessions-pool": elsewhere})
        assert found[:2] == (400, "bad-pool")
    assert "agentpools" not in stage.cluster.asked


async def test_a_pool_that_does_not_serve_ids_is_not_there() -> None:
    stage = Stage()
    stage.world.pool(("team", "chat"), PoolView(POOL_UID, False))
    assert (await stage.ask("/v1/namespaces/team/pools/chat/sessions/abc"))[0] == 404


def test_a_browsers_token_is_taken_out_of_its_protocols() -> None:
    offered = "agentsessions.v1, base64url.bearer.authorization.agentsessions.dev.YXBw"
    assert protocols(offered) == "agentsessions.v1"


async def test_a_browser_gets_in_by_its_protocol() -> None:
    offered = "agentsessions.v1, base64url.bearer.authorization.agentsessions.dev.YXBw"
    found = await Stage().decider.decide("GET", f"{AT}/ws", {"sec-websocket-protocol": offered})
    assert (found.status, found.headers["sec-websocket-protocol"]) == (200, "agentsessions.v1")


def test_claims_become_a_user_with_prefixes() -> None:
    user = from_claims("eyJzdWIiOiJhbGljZSIsImdyb3VwcyI6WyJkZXYiXX0", Oidc(enabled=True))
    assert user is not None
    assert (user.name, user.groups) == ("oidc:alice", ("system:authenticated", "oidc:dev"))
    assert from_claims("not json", Oidc(enabled=True)) is None
    assert from_claims("eyJzdWIiOjF9", Oidc(enabled=True)) is None


@pytest.mark.requirement("H34")
def test_a_provider_makes_no_users_or_groups_of_kubernetes_own() -> None:
    bare = Oidc(enabled=True, username_prefix="", groups_prefix="")
    assert from_claims(_payload(sub="system:admin"), bare) is None
    user = from_claims(_payload(sub="ann", groups=["system:masters", "dev"]), bare)
    assert user is not None
    assert user.groups == ("system:authenticated", "dev")


def _payload(**claims: Any) -> str:
    """Return claims as Envoy hands them on."""
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
