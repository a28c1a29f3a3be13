"""What the person at the terminal reads, line by line."""

import json

import pytest

from demo.narrate import log_line, pod_line, session_line


def condition(kind: str, status: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": "Starting", "message": "Pod 'a' is starting."}


def test_a_session_without_status_was_accepted() -> None:
    assert session_line({"metadata": {}}) == "accepted by the API server"


def test_a_session_says_reason_true_conditions_and_message() -> None:
    session = {"status": {"conditions": [condition("Ready", "False"), condition("Reconciling", "True")]}}
    assert session_line(session) == "Starting [Reconciling True] Pod 'a' is starting."


def test_a_pod_says_phase_cause_and_node() -> None:
    pod = {
        "metadata": {"name": "a-0"},
        "spec": {"nodeName": "node1"},
        "status": {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]},
    }
    assert pod_line(pod) == "a-0 Pending (ErrImagePull) on node1"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"event": "toolUse", "tool": "Bash", "input": '{"command": "ls"}'}, 'calls Bash: {"command": "ls"}'),
        ({"event": "toolUse", "tool": "Bash", "size": 9}, "calls Bash: (not shown)"),
        ({"event": "toolResult", "size": 3, "isError": True}, "got the tool's answer, 3 characters (an error)"),
        ({"event": "turnEnded", "turns": 2, "durationMs": 1500}, "is done: 2 turns in 1.5 s"),
        ({"event": "attemptStarted"}, None),
        ({"event": "apiRetry", "attempt": 0, "errorStatus": 529}, 'apiRetry {"errorStatus": 529}'),
    ],
)
def test_a_log_event_becomes_words(event: dict[str, object], line: str | None) -> None:
    assert log_line(json.dumps(event)) == line


def test_a_log_line_of_another_image_is_shown_as_it_is() -> None:
    assert log_line("hello\n") == "hello"
    assert log_line("\n") is None


def test_a_long_line_is_cut() -> None:
    line = log_line(json.dumps({"event": "text", "text": "word " * 200}))
    assert line is not None
    assert len(line) == 150
    assert line.endswith("…")
