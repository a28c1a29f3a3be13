"""Archives of workspaces that are too large, change while they are packed, or whose bucket says no."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from agentrunner.archive.errors import ArchiveRefused, ArchiveTooLarge, ArchiveUnreachable
from stores.archives import MIB, SESSION, Pods, until
from stores.servers import processes, s3


@pytest.fixture
def pods(s3_server: s3.S3Server, tmp_path: Path, namespace: str) -> Pods:
    """Pods of this test's own."""
    return Pods(s3_server, tmp_path, namespace)


async def test_too_large_a_workspace_is_refused_by_name(
    pods: Pods,
) -> None:
    """The text says how large, how large it may be, and which field says so; nothing is sent."""
    here = pods("here", max_bytes=MIB)
    (here.workspace / "file").write_bytes(bytes(MIB + 1))
    with pytest.raises(ArchiveTooLarge, match=r"takes 1\.0 MiB .* the 1\.0 MiB that `workspace\.archive\.maxSize`"):
        await here.save()
    assert await here.vault.expect(SESSION) is None


async def test_a_workspace_that_grows_too_large_while_it_is_packed_is_refused(
    pods: Pods,
) -> None:
    """What was counted before is not relied upon; names and modes count too."""
    here = pods("here", max_bytes=20 * 1024)
    for number in range(50):
        (here.workspace / f"empty-{number}").touch()
    with pytest.raises(ArchiveTooLarge, match="maxSize"):
        await here.save()
    assert pods.parts() == []


async def test_an_archive_from_before_the_limit_was_lowered_says_so(
    pods: Pods,
) -> None:
    """Twice the limit is unpacked, more is not: nothing is lost, and the field is named."""
    before = pods("before")
    (before.workspace / "file").write_bytes(os.urandom(3 * MIB))
    await before.save()
    for limit, fits in ((2 * MIB, True), (MIB, False)):
        after = pods(f"after-{limit}", max_bytes=limit)
        if fits:
            assert await after.restore() is not None
        else:
            with pytest.raises(ArchiveTooLarge, match="maxSize"):
                await after.restore()


async def test_files_may_change_while_they_are_packed(pods: Pods) -> None:
    """The archive is whole all the same, and what does not change is in it as it was."""
    before, after = pods("before"), pods("after")
    steady = os.urandom(2 * MIB)
    for number in range(8):
        (before.workspace / f"steady-{number}").write_bytes(steady)
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", _RESTLESS, str(before.workspace))
    try:
        await until((before.workspace / "ready").exists)
        saved = [await before.save() for _ in range(5)]
    finally:
        writer.kill()
        await writer.wait()
    assert [one.generation for one in saved] == [1, 2, 3, 4, 5]
    assert await after.restore() is not None
    for number in range(8):
        assert (after.workspace / f"steady-{number}").read_bytes() == steady


_RESTLESS = """
import os, pathlib, random, shutil, sys
root = pathlib.Path(sys.argv[1])
turn = 0
while True:
    for name in ("r-grows", "s-shrinks", "tt-flips"):
        path = root / name
        try:
            if random.random() < 0.2:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            elif random.random() < 0.1:
                path.symlink_to("/etc")
            elif random.random() < 0.1:
                path.mkdir()
                (path / "inner").write_bytes(os.urandom(1000))
            elif random.random() < 0.1:
                os.mkfifo(path)
            elif not path.is_fifo():
                with path.open("r+b" if path.exists() else "wb") as file:
                    file.truncate(random.randrange(4_000_000))
                    file.write(os.urandom(random.randrange(1_000_000)))
        except OSError:
            pass
    turn += 1
    if turn == 3:
        (root / "ready").touch()
"""


async def test_a_wrong_key_is_refused_without_being_shown(pods: Pods) -> None:
    """The text names the bucket and what to see to."""
    pods.secret_key.write_text("wrong-secret-key")
    here = pods("here")
    (here.workspace / "file").touch()
    with pytest.raises(ArchiveRefused, match=r"'sessions' of `workspace\.archive`") as caught:
        await here.save()
    _require_discreet(caught.value)


async def test_a_bucket_that_does_not_answer_is_unreachable(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again a few times, then it is said; another try may help."""
    monkeypatch.setattr("agentrunner.archive.shelf.PAUSES", (0.01, 0.01))
    where = pods.settings.s3.model_copy(update={"endpoint": f"http://127.0.0.1:{processes.free_port()}"})
    here = pods("here", s3=where)
    (here.workspace / "file").touch()
    for call in (here.save, here.restore):
        with pytest.raises(ArchiveUnreachable) as caught:
            await call()
        _require_discreet(caught.value)


async def test_a_missing_bucket_is_refused(pods: Pods) -> None:
    """That there is no bucket is not that there is no archive."""
    where = pods.settings.s3.model_copy(update={"bucket": "no-such-bucket"})
    here = pods("here", s3=where)
    with pytest.raises(ArchiveRefused, match="no-such-bucket"):
        await here.restore()


def _require_discreet(error: BaseException) -> None:
    for word in (s3.ACCESS_KEY, s3.SECRET_KEY, "wrong-secret-key", "127.0.0.1"):
        assert word not in str(error)
    assert error.__cause__ is None
