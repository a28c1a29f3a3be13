"""`agentrunner store`, as an administrator runs it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentrunner.stores.contracts import CONTRACTS
from agentsessions.__main__ import main as operator_main
from stores.backends import Backend, Opener
from stores.leftovers import leftovers
from stores.transcripts import KEY, OTHER, SUBKEY, entries

TESTS = Path(__file__).parents[1]


def store(*arguments: str, program: str = "agentrunner") -> subprocess.CompletedProcess[str]:
    """Run the command; what it prints is at hand."""
    command = [sys.executable, "-m", program, "store", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


def check_custom(factory: str, folder: Path) -> subprocess.CompletedProcess[str]:
    entry = ["--entry-point", f"stores.custom:{factory}"]
    return store("check", "--type", "Custom", "--prefix", "team/ns", "--secrets", str(folder), *entry)


def test_a_good_store_passes(backend: Backend, tmp_path: Path) -> None:
    done = store("check", *backend.arguments(tmp_path, "team/ns"))
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.startswith("ok ")] == []
    assert len(lines) == len(CONTRACTS) + 2
    assert done.returncode == 0


async def test_a_check_leaves_nothing(
    served: Backend, tmp_path: Path, request: pytest.FixtureRequest, namespace: str
) -> None:
    assert store("check", *served.arguments(tmp_path, f"team/{namespace}")).returncode == 0
    for prefix in (f"team/{namespace}", "team/ns/check"):
        assert await leftovers(served, request, prefix) == []


async def test_a_check_leaves_the_sessions_of_others_alone(opener: Opener, tmp_path: Path) -> None:
    await opener().append(KEY, entries(3))
    prefix = f"team/{opener.namespace}"
    assert store("check", *opener.backend.arguments(tmp_path / "secrets", prefix)).returncode == 0
    assert await opener().load(KEY) == entries(3)
    assert await opener().list_projects() == [KEY["project_key"]]


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        (
            "forgetful",
            "FAILED  The contracts of the SDK's conformance suite: contract 1 of the suite, append",
        ),
        ("lonely_memory", "FAILED  What one pod writes another one reads: load over another connection"),
        ("prefixless_memory", "FAILED  What is under one prefix is not seen"),
        (
            "smallest",
            "FAILED  The store can be reached, and may be written, read and deleted: the custom",
        ),
        ("talkative", "FAILED  The store can be reached"),
    ],
)
def test_a_broken_store_fails_and_its_contract_is_named(tmp_path: Path, factory: str, says: str) -> None:
    done = check_custom(factory, tmp_path)
    assert any(line.startswith(says) for line in done.stdout.splitlines()), done.stdout
    assert done.returncode == 1
    assert "hunter2" not in done.stdout + done.stderr


def test_wrong_credentials_fail_in_one_line(served: Backend, tmp_path: Path) -> None:
    assert served.wrong
    wrong = Backend(served.kind, served.wrong, None, served.more)
    done = store("check", *wrong.arguments(tmp_path, "team/ns"))
    (line,) = done.stdout.splitlines()
    assert line.startswith("FAILED  The store can be reached")
    assert (done.returncode, done.stderr) == (1, "")
    assert [word for word in wrong.secret.values() if word in line] == []


NONE = ["--secrets", "/none"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "the following arguments are required"),
        (["check", "--type", "Redis"], "the following arguments are required"),
        (["check", "--type", "Disk", "--prefix", "a/b", *NONE], "invalid choice"),
        (["check", "--type", "Redis", "--prefix", "a/../b", *NONE], "--prefix"),
        (["check", "--type", "Redis", "--prefix", "a/b", *NONE], "no key `url`: add it"),
        (
            ["check", "--type", "Redis", "--prefix", "a/b", *NONE, "--bucket", "x"],
            "--bucket has no meaning",
        ),
        (["check", "--type", "S3", "--prefix", "a/b", *NONE], "needs --bucket"),
        (
            ["check", "--type", "S3", "--prefix", "a/b", *NONE, "--bucket", "A_"],
            "--bucket: String should",
        ),
        (["check", "--type", "Custom", "--prefix", "a/b", *NONE], "needs --entry-point"),
        (
            ["list", "--type", "Custom", "--prefix", "a", *NONE, "--entry-point", "x"],
            "--entry-point: String",
        ),
        (["delete", "--type", "Redis", "--prefix", "a/b", *NONE], "session"),
    ],
)
def test_bad_arguments_are_told(arguments: list[str], says: str) -> None:
    done = store(*arguments)
    assert says in done.stderr
    assert (done.returncode, done.stdout) == (2, "")


async def test_sessions_are_listed_weighed_and_deleted(opener: Opener, tmp_path: Path) -> None:
    sessions = opener()
    await sessions.append(KEY, entries(3))
    await sessions.append(SUBKEY, entries(2))
    await sessions.append(OTHER, entries(1))
    arguments = opener.backend.arguments(tmp_path / "secrets", f"team/{opener.namespace}")

    head, first, second = store("list", *arguments).stdout.splitlines()
    assert head.split() == ["SESSION", "ENTRIES", "BYTES", "CHANGED", "PROJECT"]
    assert [first.split()[0], second.split()[0]] == [KEY["session_id"], OTHER["session_id"]]
    assert first.split()[1:3] == ["3", str(5 * len('{"type":"x","uuid":"0"}'))]
    assert len(store("list", *arguments, f"--project={KEY['project_key']}").stdout.splitlines()) == 2

    assert store("size", *arguments, KEY["session_id"]).stdout == f"{await sessions.size(KEY)}\n"
    deleted = store("delete", *arguments, KEY["session_id"])
    assert (deleted.returncode, deleted.stdout) == (0, f"deleted {KEY['session_id']}, which had 3 entries\n")
    assert await opener().load(SUBKEY) is None
    assert await opener().load(OTHER) == entries(1)
    again = store("delete", *arguments, KEY["session_id"])
    assert (again.returncode, again.stdout.startswith("there is no session")) == (1, True)


def test_the_operator_s_program_passes_the_command_on(redis_backend: Backend, tmp_path: Path) -> None:
    done = store("check", *redis_backend.arguments(tmp_path, "team/ns"), program="agentsessions")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\nok ") == len(CONTRACTS) + 1
    assert store(program="agentsessions").returncode == 2


def test_the_operator_s_program_says_that_the_runner_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert operator_main(["store", "check"]) == 2
    assert "run `agentrunner store` in the agent image" in capsys.readouterr().err
