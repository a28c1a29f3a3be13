"""What a path asks for, and that everything odd asks for nothing."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.directory.paths import CookbookPool, Kind, PathProblem, Target, cookbook_pool, parse

POOL = CookbookPool("team", "chat")
AT = "/v1/namespaces/team/sessions/one"
IDS = "/v1/namespaces/team/pools/chat/sessions"


@pytest.mark.parametrize(
    ("method", "path", "verb", "wakes", "streams"),
    [
        ("GET", AT, "get", False, False),
        ("GET", f"{AT}?a=b", "get", False, False),
        ("GET", f"{AT}/events?lastEventId=a-1", "get", True, True),
        ("GET", f"{AT}/transcript", "get", True, False),
        ("POST", f"{AT}/messages", "create", True, True),
        ("POST", f"{AT}/interrupt", "create", False, False),
        ("GET", f"{AT}/ws", "create", True, False),
    ],
)
def test_a_session_is_named_by_its_resource_and_woken_by_what_needs_it(
    method: str, path: str, verb: str, wakes: bool, streams: bool
) -> None:
    assert parse(method, path, None) == Target(Kind.NAMED, "team", "one", verb, wakes=wakes, streams=streams)


def test_a_session_may_be_called_events() -> None:
    assert not parse("GET", "/v1/namespaces/team/sessions/events", None).streams
    assert not parse("GET", f"{AT}/ports/3000/events", None).streams


@pytest.mark.parametrize(
    ("method", "verb"), [("GET", "get"), ("HEAD", "get"), ("POST", "create"), ("DELETE", "create")]
)
def test_a_port_is_a_right_of_its_own(method: str, verb: str) -> None:
    found = parse(method, f"{AT}/ports/3000/a/b?c=d", None)
    assert (found.verb, found.port, found.subresource) == (verb, 3000, "ports")
    assert found.prefix == f"{AT}/ports/3000"


def test_an_id_of_a_pool_and_the_same_by_the_cookbooks_path() -> None:
    named = parse("POST", f"{IDS}/Chat_7-a/messages", None)
    assert named == parse("POST", "/sessions/Chat_7-a/messages", POOL)
    assert (named.kind, named.name, named.session_id) == (Kind.IMPLICIT, "chat", "Chat_7-a")


@pytest.mark.parametrize("session_id", ["-a", "_a", "a" * 65, "a.b", "ä", "a%20b"])
def test_an_odd_id_is_refused(session_id: str) -> None:
    with pytest.raises(PathProblem) as problem:
        parse("GET", f"{IDS}/{session_id}", None)
    assert problem.value.slug == "bad-session-id"


@pytest.mark.parametrize(
    "tail",
    ["/../two", "/%2e%2E/two", "/.", "//events", "/..%2ftwo", "/%5c..", "\\..\\two", "/events%00", "/ports/1/%2F"],
)
def test_what_could_be_read_in_two_ways_is_refused(tail: str) -> None:
    with pytest.raises(PathProblem) as problem:
        parse("GET", f"{AT}{tail}", None)
    assert (problem.value.status, problem.value.slug) == (400, "bad-path")


@pytest.mark.requirement("H34")
@pytest.mark.parametrize("path", [f"//host{AT}", f"//{AT}", "//[", f"//[x{AT}"])
def test_a_path_has_no_host_before_it(path: str) -> None:
    with pytest.raises(PathProblem) as problem:
        parse("GET", path, None)
    assert (problem.value.status, problem.value.slug) == (400, "bad-path")


@pytest.mark.requirement("H34")
@pytest.mark.parametrize(
    "text",
    [
        "team",
        "team/",
        "/chat",
        "/",
        "../team/chat",
        "team/../other/agentpools/chat",
        "team/chat/x",
        "team/..",
        "Team/chat",
    ],
)
def test_a_pool_is_named_by_two_names_and_nothing_else(text: str) -> None:
    with pytest.raises(PathProblem) as problem:
        cookbook_pool(text)
    assert (problem.value.status, problem.value.slug) == (400, "bad-pool")
    assert cookbook_pool("team/chat.v2") == CookbookPool("team", "chat.v2")


@pytest.mark.parametrize(
    "path", ["/", "/v1/namespaces/team/sessions/", f"{AT}/unknown", f"{AT}/ports/x/", "/sessions/a/messages"]
)
def test_everything_else_is_nothing(path: str) -> None:
    with pytest.raises(PathProblem) as problem:
        parse("GET", path, None)
    assert problem.value.status == 404


def test_the_wrong_method_is_said_with_the_right_one() -> None:
    with pytest.raises(PathProblem, match="method-not-allowed") as problem:
        parse("GET", f"{AT}/messages", None)
    assert "POST" in problem.value.detail


@given(st.text(max_size=80))
def test_no_path_breaks_it(text: str) -> None:
    with suppress(PathProblem):
        found = parse("GET", f"/v1/namespaces/{text}", POOL)
        assert text.startswith(f"{found.namespace}/")
