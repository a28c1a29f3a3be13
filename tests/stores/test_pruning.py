"""`agentrunner store prune`: what no session has any more goes, once it is old, on demand; nothing else."""

import argparse
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from agentrunner.errors import InvalidInput
from agentrunner.stores import console
from agentrunner.stores.base import Store
from agentrunner.stores.living import read_living
from agentrunner.stores.pruning import is_nobodys, is_old, prune
from agentsessions.api.base import Json
from stores.backends import Opener
from stores.test_command_line import store
from stores.transcripts import KEY, OTHER, SUBKEY, entries

NOW = datetime.now(UTC)
FOREIGN = {**OTHER, "session_id": "notes"}


def thing(kind: str, namespace: str, uid: str, **more: Json) -> Json:
    """Return an object as kubectl prints it."""
    meta = {"name": "a", "namespace": namespace, "uid": uid}
    return {"apiVersion": "agentsessions.dev/v1alpha1", "kind": kind, "metadata": meta, **more}


def printed(*items: Json) -> str:
    """Return what `kubectl get … --output json` prints."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items), "metadata": {"resourceVersion": ""}})


async def pruned(sessions: Store, prefix: str, living: Path, *more: str) -> list[str]:
    """Run the command over a store in which everything is two days older than it is; return what it says."""
    parser = argparse.ArgumentParser()
    console.add_arguments(parser)
    words = ["prune", "--type", "Custom", "--prefix", prefix, "--secrets", "/none", "--living", str(living)]
    said: list[str] = []
    assert (
        await prune(
            cast(Store, _Older(sessions)), parser.parse_args([*words, "--older-than-days", "1", *more]), said.append
        )
        == 0
    )
    return said


class _Older:
    """A store whose sessions have last changed two days ago."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def list_sessions(self, project_key: str) -> list[Json]:
        """Return the sessions, with an older time of change."""
        found = await self._store.list_sessions(project_key)
        return [{**one, "mtime": one["mtime"] - timedelta(days=2) // timedelta(milliseconds=1)} for one in found]


async def test_only_conversations_of_sessions_that_are_gone_are_deleted(opened: Opener, tmp_path: Path) -> None:
    namespace = opened.namespace
    sessions, neighbour = opened(), opened("other-team")
    for key in (KEY, SUBKEY, OTHER, FOREIGN):
        await sessions.append(key, entries(3))  # type: ignore[arg-type]
    await neighbour.append(KEY, entries(3))
    living = tmp_path / "living.json"
    living.write_text(printed(thing("AgentSession", namespace, OTHER["session_id"])))

    # A custom store need not know its projects; then the user names one.
    where = [f"--project={KEY['project_key']}"] if opened.backend.kind == "Custom" else []
    said = await pruned(sessions, f"team/{namespace}", living, *where)
    assert [line.split()[0] for line in said] == ["SESSION", KEY["session_id"], "1"]
    assert said[-1] == "1 conversations would be deleted; --delete does it"
    assert await sessions.load(KEY) == entries(3), "to look is not to delete"

    assert (await pruned(sessions, f"team/{namespace}", living, *where, "--delete"))[-1] == "deleted 1 conversations"
    assert (await sessions.load(KEY), await sessions.load(SUBKEY)) == (None, None)
    for kept in (OTHER, FOREIGN):
        assert await sessions.load(kept) == entries(3)  # type: ignore[arg-type]
    assert await neighbour.load(KEY) == entries(3)
    assert (await pruned(sessions, f"team/{namespace}", living, *where, "--delete"))[-1] == "deleted 0 conversations"


async def test_what_has_just_changed_stays_whoever_has_it(opener: Opener, tmp_path: Path) -> None:
    await opener().append(KEY, entries(1))
    living = tmp_path / "living.json"
    living.write_text(printed(thing("AgentSession", opener.namespace, OTHER["session_id"])))
    arguments = opener.backend.arguments(tmp_path / "secrets", f"team/{opener.namespace}")
    done = store("prune", *arguments, "--living", str(living), "--older-than-days", "1", "--delete")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "deleted 0 conversations"
    assert await opener().load(KEY) == entries(1)


ONE = thing("AgentSession", "ns", KEY["session_id"])


@pytest.mark.parametrize(
    ("text", "more", "says"),
    [
        pytest.param("", [], "is not a whole list", id="kubectl failed"),
        pytest.param(printed(ONE)[:-20], [], "kubectl get agentsessions,agentpools --namespace ns", id="cut"),
        pytest.param(json.dumps(ONE), [], "is not a whole list", id="one object"),
        pytest.param(printed(), [], "--none-living", id="none"),
        pytest.param(printed(ONE, thing("AgentSession", "team-b", "u")), [], "namespace team-b", id="namespace"),
        pytest.param(
            printed({**ONE, "apiVersion": "v1", "kind": "Pod"}), [], "has a Pod of v1", id="other kind of object"
        ),
        pytest.param(
            printed(ONE, thing("AgentPool", "ns", "p", spec={"implicitSessions": True})),
            [],
            "--implicit-too",
            id="ids without a resource",
        ),
        pytest.param(printed(ONE), ["--older-than-days", "0"], "from 1 to 36500", id="no age"),
        pytest.param(printed(ONE), ["--older-than-days", "1.5"], "whole number", id="broken age"),
    ],
)
def test_a_list_that_may_not_be_whole_is_refused(tmp_path: Path, text: str, more: list[str], says: str) -> None:
    (tmp_path / "url").write_text("redis://127.0.0.1:1/0")
    (tmp_path / "living.json").write_text(text)
    arguments = ["--type", "Redis", "--prefix", "team/ns", "--secrets", str(tmp_path), "--older-than-days", "7"]
    done = store("prune", *arguments, "--living", str(tmp_path / "living.json"), "--delete", *more)
    assert says in done.stderr
    assert (done.returncode, done.stdout) == (2, "")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_living(str(tmp_path / "none"), "team/ns", none=True, implicit_too=True)


def test_who_says_so_may_have_no_session_and_mean_ids_without_a_resource(tmp_path: Path) -> None:
    pool = thing("AgentPool", "ns", "p", spec={"implicitSessions": True})
    (tmp_path / "living.json").write_text(printed(pool))
    assert read_living(str(tmp_path / "living.json"), "team/ns", none=True, implicit_too=True) == frozenset()


def test_the_id_of_the_conversation_counts_as_well_as_that_of_the_resource(tmp_path: Path) -> None:
    one = thing("AgentSession", "ns", "uid", status={"sessionId": KEY["session_id"]})
    (tmp_path / "living.json").write_text(printed(one))
    found = read_living(str(tmp_path / "living.json"), "team/ns", none=False, implicit_too=False)
    assert found == {"uid", KEY["session_id"]}


@pytest.mark.parametrize(
    ("mtime", "old"),
    [(NOW - timedelta(days=2), True), (NOW, False), (datetime.fromtimestamp(0, UTC), False)],
    ids=["old", "new", "unknown"],
)
def test_what_is_old(mtime: datetime, old: bool) -> None:
    assert is_old(round(mtime.timestamp() * 1000), NOW - timedelta(days=1)) == old


def test_names_that_no_session_has_are_not_ours() -> None:
    assert not is_nobodys(FOREIGN, frozenset())  # type: ignore[arg-type]
    assert not is_nobodys({**KEY, "session_id": KEY["session_id"].replace("-", "")}, frozenset())
    assert is_nobodys(KEY, frozenset())
