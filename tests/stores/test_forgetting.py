"""`agentrunner store forget`, as the cleanup pod of a deleted session runs it, against real servers."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agentrunner.keeping.files import TranscriptFiles
from agentrunner.keeping.forgetting import forget
from agentrunner.keeping.ledger import LEDGER
from agentrunner.stores.base import StoreUnreachable
from agentsessions.api.base import Json
from agentsessions.api.host import HostDocument, StoreSettings
from stores.archives import SESSION, Pods
from stores.backends import Backend, Opener
from stores.leftovers import leftovers
from stores.servers import s3
from stores.servers.processes import free_port
from stores.transcripts import entries

OTHER = "3f0e4f4e-5f0c-4f4e-9d4e-0c9f4b1d2a12"
SUBPATHS = (None, "subagents/agent-a1", LEDGER)
TESTS = Path(__file__).parents[1]


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    """The working directory of a host."""
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


def document(folder: Path, **parts: object) -> Path:
    """Write host.json; return its folder."""
    where = folder / "session"
    where.mkdir(exist_ok=True)
    made = HostDocument.model_validate(
        {"version": 1, "namespace": "ns", "pool": "p", "pool_uid": "u", "sessions_per_host": 1} | parts
    )
    (where / "host.json").write_text(json.dumps(made.to_json()))
    return where


def run(host: Path, cwd: Path, session: str = SESSION) -> subprocess.CompletedProcess[str]:
    """Run the command in a host's working directory."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "AGENTSESSIONS_SESSION_DIR": str(host)}
    command = [sys.executable, "-m", "agentrunner", "store", "forget", session]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, cwd=cwd)


async def talked(opener: Opener, cwd: Path, session: str) -> TranscriptFiles:
    """Store a conversation as a host does: the session's own, a subagent's, and the bill."""
    files = TranscriptFiles(cwd, cwd / session, session)
    for subpath in SUBPATHS:
        await opener().append(files.key(subpath), entries(3))
    return files


def store_of(opener: Opener) -> StoreSettings:
    return opener.backend.settings(opener.folder / "secret", f"team/{opener.namespace}")


@pytest.mark.requirement("H03")
async def test_all_of_a_conversation_goes_and_its_neighbour_stays(
    opener: Opener, cwd: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    files, neighbour = await talked(opener, cwd, SESSION), await talked(opener, cwd, OTHER)
    done = run(document(tmp_path, store=store_of(opener)), cwd)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"removed the stored conversation of {SESSION}\n"
    for subpath in SUBPATHS:
        assert await opener().load(files.key(subpath)) is None
        assert await opener().load(neighbour.key(subpath)) == entries(3)
    again = run(document(tmp_path, store=store_of(opener)), cwd)
    assert (again.returncode, again.stderr) == (0, "")
    assert run(document(tmp_path, store=store_of(opener)), cwd, OTHER).returncode == 0
    assert await leftovers(opener.backend, request, f"team/{opener.namespace}") == []


@pytest.mark.requirement("H03")
async def test_the_archived_workspace_goes_with_it(
    redis_backend: Backend, s3_server: s3.S3Server, cwd: Path, tmp_path: Path, namespace: str
) -> None:
    pods = Pods(s3_server, tmp_path, namespace)
    for session in (SESSION, OTHER):
        place = pods(session)
        (place.workspace / "file").write_text("content")
        await place.save(session)
    assert pods.stored.exists()
    store = redis_backend.settings(tmp_path / "redis", f"team/{namespace}")
    done = run(document(tmp_path, store=store, archive=pods.settings), cwd)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"removed the archived workspace of {SESSION}" in done.stdout
    assert not [path for path in pods.stored.rglob("*") if path.is_file()]
    assert [path for path in pods.stored.with_name(OTHER).rglob("*") if path.is_file()]


async def test_a_store_that_refuses_is_told_of_and_the_archive_goes_all_the_same(
    served: Backend, s3_server: s3.S3Server, cwd: Path, tmp_path: Path, namespace: str
) -> None:
    pods = Pods(s3_server, tmp_path, namespace)
    await pods("one").save()
    assert served.wrong
    wrong = replace(served, secret=served.wrong).settings(tmp_path / "wrong", f"team/{namespace}")
    done = run(document(tmp_path, store=wrong, archive=pods.settings), cwd)
    assert done.returncode == 2
    assert done.stderr.startswith("agentrunner store: ")
    assert done.stderr.count("\n") == 1
    assert not [word for word in served.wrong.values() if word.strip() in done.stderr + done.stdout]
    assert not [path for path in pods.stored.rglob("*") if path.is_file()]


async def test_a_store_without_an_answer_is_tried_for_a_while(
    tmp_path: Path, cwd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "url").write_text(f"redis://127.0.0.1:{free_port()}/0")
    store: Json = {"type": "Redis", "prefix": "team/ns", "secrets": str(tmp_path)}
    monkeypatch.setenv("AGENTSESSIONS_SESSION_DIR", str(document(tmp_path, store=store)))
    with pytest.raises(StoreUnreachable):
        await forget(SESSION, cwd, print, patience=1.5)


@pytest.mark.parametrize(
    ("session", "says"), [("../other", "a UUID"), (SESSION, "host.json"), (SESSION.upper(), "host.json")]
)
def test_what_cannot_be_done_is_told(tmp_path: Path, cwd: Path, session: str, says: str) -> None:
    done = run(tmp_path / "none", cwd, session)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
