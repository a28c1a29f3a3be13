"""What the API server's log says of sessions: how much was written about them, and pods that overlapped."""

import json
from pathlib import Path

import pytest

from e2e.api import Json
from e2e.audit import AuditLog
from e2e.operator_pod import USER_NAME
from faults.ledger import GATEWAY_USER, Ledger, at_once, writes

KUBELET = "system:node:node0"


def entry(second: int, user: str, verb: str, name: str, resource: str = "pods", code: int = 200) -> Json:
    return {
        "user": {"username": user},
        "verb": verb,
        "objectRef": {"resource": resource, "namespace": "e2e", "name": name},
        "responseStatus": {"code": code},
        "stageTimestamp": f"2026-01-01T00:00:{second:02}.000000Z",
    }


def made(second: int, name: str, code: int = 201) -> Json:
    return entry(second, USER_NAME, "create", name, code=code)


def removed(second: int, name: str) -> Json:
    return entry(second, KUBELET, "delete", name)


def test_a_pod_that_is_made_after_the_last_was_removed_is_as_it_should_be() -> None:
    log = [
        made(1, "one-abcd0123-0"),
        entry(2, USER_NAME, "delete", "one-abcd0123-0"),
        removed(3, "one-abcd0123-0"),
        made(4, "one-abcd0123-1"),
    ]
    assert at_once(log, "one") == []


def test_a_pod_that_was_removed_without_grace_is_gone_at_once() -> None:
    gone = entry(2, "admin", "delete", "one-abcd0123-0")
    assert at_once([made(1, "one-abcd0123-0"), gone, made(3, "one-abcd0123-1")], "one") == []


@pytest.mark.parametrize(
    "between",
    [
        pytest.param([], id="never removed"),
        pytest.param([entry(2, USER_NAME, "delete", "one-abcd0123-0")], id="told to end, and not gone"),
        pytest.param([entry(2, USER_NAME, "delete", "one-abcd0123-0", code=409)], id="refused"),
    ],
)
def test_a_pod_that_is_made_before_the_last_was_removed_is_told(between: list[Json]) -> None:
    log = [made(1, "one-abcd0123-0"), *between, made(3, "one-abcd0123-1"), removed(4, "one-abcd0123-0")]
    assert at_once(log, "one") == ["pod one-abcd0123-1 was made before one-abcd0123-0 was removed"]


def test_what_a_killed_api_server_did_not_write_down_is_held_against_nobody() -> None:
    log = [made(1, "one-abcd0123-0"), made(5, "one-abcd0123-1")]
    assert at_once(log, "one", [("2026-01-01T00:00:02", "2026-01-01T00:00:04")]) == []
    assert at_once(log, "one", [("2026-01-01T00:00:06", "2026-01-01T00:00:07")]) != []


def test_pods_that_were_never_made_and_those_of_other_sessions_are_left_out() -> None:
    log = [
        made(1, "one-abcd0123-0"),
        made(2, "one-abcd0123-1", code=409),
        made(3, "one1-abcd0123-1"),
        made(4, "two-abcd0123-0"),
    ]
    log.append(made(5, "one-abcd0123-forget"))  # it removes the conversation, and is no host
    assert at_once(log, "one") == []


def test_writes_are_counted_by_session_and_only_the_operators() -> None:
    log = [
        made(1, "one-abcd0123-0"),
        entry(2, USER_NAME, "patch", "one", "agentsessions"),
        entry(3, USER_NAME, "patch", "one", "agentsessions", code=409),
        entry(4, USER_NAME, "patch", "one1", "agentsessions"),
        entry(5, "somebody", "patch", "one", "agentsessions"),
        removed(6, "one-abcd0123-0"),
    ]
    assert writes(log, "one") == 3


def test_a_log_is_read_on_from_where_the_last_reading_ended(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    lines = [json.dumps(made(second, f"one-abcd0123-{second}")) + "\n" for second in range(4)]
    elsewhere = made(1, "one-abcd0123-1") | {"objectRef": {"namespace": "other", "resource": "pods", "name": "e2e"}}
    file.write_text(lines[0])
    ledger = Ledger(AuditLog(file), "e2e")
    file.write_text(lines[0] + lines[1] + json.dumps(elsewhere) + "\n" + lines[2][:20])
    assert [one["objectRef"]["name"] for one in ledger.read()] == ["one-abcd0123-1"]
    file.write_text(lines[0] + lines[1] + json.dumps(elsewhere) + "\n" + lines[2] + lines[3])
    assert [one["objectRef"]["name"] for one in ledger.read()] == ["one-abcd0123-2", "one-abcd0123-3"]
    assert len(ledger.entries) == 3


def test_where_there_is_no_log_nothing_is_known() -> None:
    ledger = Ledger(None, "e2e")
    assert (ledger.known, ledger.read()) == (False, [])


def test_events_and_what_a_gateway_writes_are_writes_about_a_session() -> None:
    log = [
        entry(1, USER_NAME, "create", "one.0a1b2c3d", "events"),
        entry(2, GATEWAY_USER, "patch", "one", "agentsessions"),
        entry(3, "somebody", "patch", "one", "agentsessions"),
        entry(4, USER_NAME, "create", "oneself.0a1b2c3d", "events"),
    ]
    assert writes(log, "one") == 2
