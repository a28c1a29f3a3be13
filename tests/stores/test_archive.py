"""Workspaces that are packed into a bucket and come back, with a real S3 server."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agentrunner.archive.errors import ArchiveConflict
from stores.archives import MIB, SESSION, Pods, add_special, fill, look
from stores.servers import s3

OTHER = "7c9d1f3a-2222-4b0b-8f43-1d2e3f405162"


@pytest.fixture
def pods(s3_server: s3.S3Server, tmp_path: Path, namespace: str) -> Pods:
    """Pods of this test's own."""
    return Pods(s3_server, tmp_path, namespace)


async def test_everything_comes_back_as_it_was(pods: Pods) -> None:
    """Content, modes, times to the nanosecond, links of all kinds, names that are no text."""
    before, after = pods("before"), pods("after")
    fill(before.workspace)
    saved = await before.save()
    restored = await after.restore()
    assert restored is not None
    assert (restored.generation, restored.sha256, restored.present) == (1, saved.sha256, False)
    assert look(after.workspace) == look(before.workspace)
    assert saved.files == len(look(before.workspace))
    assert (after.workspace / "sparse").stat().st_blocks * 512 < 2 * MIB


async def test_what_is_no_file_is_left_out(pods: Pods) -> None:
    """Pipes and sockets neither hang nor fail the packing."""
    before, after = pods("before"), pods("after")
    (before.workspace / "file").write_text("kept")
    expected = look(before.workspace)
    add_special(before.workspace)
    await before.save()
    await after.restore()
    assert look(after.workspace) == expected


async def test_a_set_user_id_bit_does_not_come_back(pods: Pods) -> None:
    """Nobody gains another's identity by way of the archive."""
    before, after = pods("before"), pods("after")
    (before.workspace / "program").touch()
    (before.workspace / "program").chmod(0o6755)
    await before.save()
    await after.restore()
    assert (after.workspace / "program").stat().st_mode & 0o7777 == 0o755


async def test_memory_comes_back_and_nothing_else_of_the_cli(pods: Pods) -> None:
    """Transcripts, credentials and caches stay; a transcript that is there already is not in the way."""
    before, after = pods("before"), pods("after")
    kept = ["CLAUDE.md", "settings.json", "skills/one/SKILL.md", "agents/a.md", "commands/c.md", "rules/r.md"]
    kept.append("projects/-workspace-x/memory/MEMORY.md")
    left = [".credentials.json", ".claude.json", "projects/-workspace-x/id.jsonl", "shell-snapshots/s.sh", "todos/t"]
    for name in kept + left:
        (before.config / name).parent.mkdir(parents=True, exist_ok=True)
        (before.config / name).write_text(name)
    (after.config / "projects/-workspace-x").mkdir(parents=True)
    (after.config / "projects/-workspace-x/id.jsonl").write_text("from the store")
    await before.save()
    await after.restore()
    found = {
        str(path.relative_to(after.config)): path.read_text() for path in after.config.rglob("*") if path.is_file()
    }
    assert found == {name: name for name in kept} | {"projects/-workspace-x/id.jsonl": "from the store"}


async def test_without_an_archive_nothing_happens(pods: Pods) -> None:
    """A new session has none."""
    new = pods("new")
    assert await new.restore() is None
    assert await new.vault.expect(SESSION) is None
    assert look(new.folder) == {b"workspace": look(new.folder)[b"workspace"], b"claude": look(new.folder)[b"claude"]}


async def test_an_empty_workspace_is_an_archive_too(pods: Pods) -> None:
    """That there is nothing is known, and not mistaken for a loss."""
    before, after = pods("before"), pods("after")
    assert (await before.save()).files == 0
    restored = await after.restore()
    assert restored is not None
    assert restored.files == 0


async def test_what_has_not_changed_is_not_sent_again(pods: Pods) -> None:
    """Neither after a save nor after a restore; any change counts."""
    before, after = pods("before"), pods("after")
    fill(before.workspace)
    first = await before.save()
    assert (await before.save()).unchanged
    await after.restore()
    again = await after.save()
    assert (again.unchanged, again.generation, again.sha256) == (True, first.generation, first.sha256)
    same = after.workspace / "block"
    seen = same.stat()
    same.write_bytes(b"y" * 512)
    os.utime(same, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    changed = await after.save()
    assert (changed.unchanged, changed.generation) == (False, 2)


@pytest.mark.parametrize("change", ["add", "remove", "mode", "link", "folder"])
async def test_every_kind_of_change_is_seen(pods: Pods, change: str) -> None:
    """A change of a name, a mode or a link's target is one."""
    here = pods("here")
    fill(here.workspace)
    await here.save()
    (here.folder / "link").symlink_to("block")
    changes: dict[str, Callable[[], object]] = {
        "add": lambda: (here.workspace / "new").touch(),
        "remove": lambda: (here.workspace / "empty").unlink(),
        "mode": lambda: (here.workspace / "block").chmod(0o600),
        "link": lambda: (here.folder / "link").replace(here.workspace / "inside"),
        "folder": lambda: (here.workspace / "hollow/inner").rmdir(),
    }
    changes[change]()
    assert not (await here.save()).unchanged


async def test_the_last_two_archives_are_kept(pods: Pods) -> None:
    """Older ones go once the manifest names a newer one."""
    here = pods("here")
    for number in range(4):
        (here.workspace / "file").write_text(str(number))
        await here.save()
    assert pods.archives() == ["3", "4"]


async def test_a_removed_session_leaves_nothing(pods: Pods) -> None:
    """All objects go, those of another session stay."""
    here, other = pods("here"), pods("other")
    for one, session in ((here, SESSION), (other, OTHER)):
        (one.workspace / "file").write_text("content")
        await one.save(session)
    await here.vault.delete(SESSION)
    assert await here.vault.expect(SESSION) is None
    assert pods.parts() == []
    assert await here.vault.expect(OTHER) is not None


@pytest.mark.parametrize("session", ["", ".", "..", "a/b", "../other"])
async def test_a_session_is_a_uuid(pods: Pods, session: str) -> None:
    """What is none could stand for everybody's objects."""
    with pytest.raises(ValueError, match="UUID"):
        await pods("here").vault.delete(session)


async def test_files_that_are_there_are_not_written_over(pods: Pods) -> None:
    """Whose they are nobody knows."""
    before, after = pods("before"), pods("after")
    (before.workspace / "file").write_text("archived")
    await before.save()
    (after.workspace / "mine").write_text("here first")
    with pytest.raises(ArchiveConflict, match="'workspace' has files already"):
        await after.restore()
    assert look(after.workspace).keys() == {b"mine"}


async def test_what_is_here_already_is_left_alone(pods: Pods) -> None:
    """A host that is started anew restores nothing over newer files; neither does one that packed them itself."""
    before, after = pods("before"), pods("after")
    (before.workspace / "file").write_text("archived")
    await before.save()
    await after.restore()
    (after.workspace / "file").write_text("newer")
    for one, text in ((after, "newer"), (before, "archived")):
        again = await one.restore()
        assert again is not None
        assert again.present
        assert (one.workspace / "file").read_text() == text


async def test_a_workspace_that_was_lost_is_restored_again(pods: Pods) -> None:
    """The note of it alone is no proof that it is there."""
    here = pods("here")
    (here.workspace / "file").write_text("archived")
    await here.save()
    here.workspace.rename(here.folder / "gone")
    here.workspace.mkdir()
    again = await here.restore()
    assert again is not None
    assert not again.present
    assert (here.workspace / "file").read_text() == "archived"


async def test_a_pod_of_the_past_cannot_undo_what_came_after(pods: Pods) -> None:
    """A pod that was believed dead does not put older files over newer ones."""
    old, new = pods("old"), pods("new")
    (old.workspace / "file").write_text("first")
    await old.save()
    await new.restore()
    (new.workspace / "file").write_text("second")
    await new.save()
    (old.workspace / "file").write_text("late")
    with pytest.raises(ArchiveConflict, match="generation 2"):
        await old.save()
    with pytest.raises(ArchiveConflict):
        await old.restore()


async def test_a_session_can_begin_with_a_copy_of_anothers_workspace(pods: Pods) -> None:
    """From then on they go apart."""
    one, copy, later = pods("one"), pods("copy"), pods("later")
    (one.workspace / "file").write_text("shared")
    await one.save()
    assert await copy.restore(SESSION) is not None
    saved = await copy.save(OTHER)
    assert (saved.unchanged, saved.generation) == (False, 1)
    (one.workspace / "file").write_text("changed")
    await one.save()
    await later.restore(OTHER)
    assert (later.workspace / "file").read_text() == "shared"
