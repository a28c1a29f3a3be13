"""Following a session, with a kubectl that only prints."""

import json
from pathlib import Path

import pytest

from demo.console import Console
from demo.errors import DemoError
from demo.follow import Follower
from demo.programs import Program

CREATED = {"name": "hello", "creationTimestamp": "2026-01-02T03:04:05Z"}
POD = {
    "kind": "Pod",
    "metadata": {"name": "hello-0"},
    "status": {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]},
}
LOG = [{"event": "toolUse", "tool": "Bash", "size": 3}, {"event": "toolResult", "size": 60, "isError": False}]


def kubectl(folder: Path, *sessions: object, pause: float = 0.3) -> Program:
    """Return a program that prints the session's versions, a running pod, and the pod's log, and then hangs."""
    (folder / "sessions").write_text("\n".join(json.dumps(item, indent=4) for item in sessions) + "\n")
    (folder / "pod").write_text(json.dumps(POD, indent=4) + "\n")
    (folder / "log").write_text("".join(f"{json.dumps(item)}\n" for item in LOG))
    script = folder / "kubectl"
    script.write_text(
        f"cd {folder}\n"
        'case "$1 $2" in\n'
        f'"get agentsession") sleep {pause}; cat sessions; exec sleep 60;;\n'
        '"get pods") cat pod; exec sleep 60;;\n'
        '"logs --follow") cat log;;\n'
        "esac\n"
    )
    return Program(Path("/bin/sh"), [str(script)])


def test_it_ends_with_the_session_and_has_read_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished = {"metadata": CREATED, "status": {"completionTime": "2026-01-02T03:04:09Z"}}
    follower = Follower(kubectl(tmp_path, {"metadata": CREATED}, finished), Console(1), "demo", "hello")
    assert follower.follow(30) == finished
    assert follower.tool_calls == 1
    shown = capsys.readouterr().out
    assert "accepted by the API server" in shown
    assert "hello-0 Running" in shown
    assert "got the tool's answer, 60 characters" in shown


def test_a_session_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    follower = Follower(kubectl(tmp_path, {"metadata": CREATED}, pause=0), Console(1), "demo", "hello")
    with pytest.raises(DemoError, match="it stands at: accepted by the API server"):
        follower.follow(1)
