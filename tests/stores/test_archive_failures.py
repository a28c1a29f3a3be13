"""Archives of workspaces when something fails: the bucket, the pod, the disk, or the measure."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agentrunner.archive.errors import (
    ArchiveConflict,
    ArchiveCorrupt,
    ArchiveError,
    ArchiveRefused,
)
from agentrunner.archive.transfer import Sent, send
from agentrunner.archive.trees import SCRATCH
from agentrunner.stores.base import StoreUnreachable
from stores.archives import MIB, Flaky, Pods, fill, look, until
from stores.servers import s3


@pytest.fixture
def pods(s3_server: s3.S3Server, tmp_path: Path, namespace: str) -> Pods:
    """Pods of this test's own."""
    return Pods(s3_server, tmp_path, namespace)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 64 KiB, so that small archives have many."""
    monkeypatch.setattr("agentrunner.archive.transfer.PART", 64 * 1024)


@pytest.mark.parametrize("carried_out", [False, True], ids=["not carried out", "carried out"])
@pytest.mark.usefixtures("small_parts")
async def test_wherever_a_save_breaks_off_an_archive_holds(pods: Pods, *, carried_out: bool) -> None:
    """The one before or the new one; and the next save succeeds, whether the last call did something or not."""
    here = pods("here")
    noise = os.urandom(200 * 1024)
    (here.workspace / "large").write_bytes(noise)
    (here.workspace / "file").write_text("start")
    await here.save()
    last, calls, failed = "start", 0, True
    while failed:
        (here.workspace / "file").write_text(f"save {calls}")
        flaky = Flaky(pods.settings, calls, carried_out=carried_out)
        with suppress(ArchiveRefused):
            await pods("here", objects=flaky).save()
        failed = flaky.failed
        after = pods(f"after-{calls}")
        assert await after.restore() is not None
        assert (after.workspace / "file").read_text() in {last, f"save {calls}"}
        assert (after.workspace / "large").read_bytes() == noise
        (here.workspace / "file").write_text(last := f"mended {calls}")
        assert not (await here.save()).unchanged
        calls += 1
    assert calls > 8  # the manifest, four parts, the manifest again, the new one, the list, what is outdated


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("calls", range(8))
async def test_a_call_that_fails_once_is_made_again(pods: Pods, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """Each of them, with no harm if it had been carried out."""
    monkeypatch.setattr("agentrunner.archive.shelf.PAUSES", (0, 0))
    once = Flaky(pods.settings, calls, carried_out=True, failures=2, error=StoreUnreachable("not now"))
    here, after = pods("here", objects=once), pods("after")
    (here.workspace / "large").write_bytes(os.urandom(200 * 1024))
    await here.save()
    assert once.failed
    await after.restore()
    assert look(after.workspace) == look(here.workspace)


async def test_a_save_that_is_cancelled_leaves_the_archive_before(pods: Pods) -> None:
    """And removes what it had sent."""
    here, after = pods("here"), pods("after")
    (here.workspace / "file").write_text("first")
    await here.save()
    (here.workspace / "file").write_text("second")
    (here.workspace / "large").write_bytes(os.urandom(60 * MIB))
    saving = asyncio.create_task(here.save())
    await until(lambda: "2" in pods.archives())
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    await after.restore()
    assert (after.workspace / "file").read_text() == "first"
    assert pods.archives() == ["1"]


async def test_a_restore_that_is_cancelled_leaves_nothing(pods: Pods) -> None:
    """And can be had again."""
    before, after = pods("before"), pods("after")
    (before.workspace / "large").write_bytes(os.urandom(60 * MIB))
    await before.save()
    restoring = asyncio.create_task(after.restore())
    await until(lambda: (after.workspace / SCRATCH / "large").exists())
    restoring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await restoring
    assert look(after.workspace) == {}
    await after.restore()
    assert look(after.workspace) == look(before.workspace)


async def test_another_pod_that_saves_meanwhile_is_noticed(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive that was there first stays, what came too late is removed."""
    slow, fast, after = pods("slow"), pods("fast"), pods("after")
    (slow.workspace / "file").write_text("slow")
    (fast.workspace / "file").write_text("fast")

    async def overtaken(*arguments: Any) -> Sent:
        sent = await send(*arguments)
        monkeypatch.undo()
        await fast.save()
        return sent

    monkeypatch.setattr("agentrunner.archive.vault.send", overtaken)
    with pytest.raises(ArchiveConflict, match="another pod"):
        await slow.save()
    await after.restore()
    assert (after.workspace / "file").read_text() == "fast"
    assert len(pods.parts()) == 1


@pytest.mark.parametrize("damage", ["truncated", "altered", "longer", "part missing", "manifest"])
@pytest.mark.usefixtures("small_parts")
async def test_a_damaged_archive_changes_nothing_on_disk(pods: Pods, damage: str) -> None:
    """It is refused as a whole."""
    before, after = pods("before"), pods("after")
    (before.workspace / "large").write_bytes(os.urandom(200 * 1024))
    await before.save()
    parts = pods.parts()
    content = bytearray(parts[1].read_bytes())
    if damage == "truncated":
        parts[1].write_bytes(content[:-1])
    elif damage == "altered":
        content[len(content) // 2] ^= 1
        parts[1].write_bytes(content)
    elif damage == "longer":
        parts[1].write_bytes(content + b"\0")
    elif damage == "part missing":
        parts[1].unlink()
    else:
        (pods.stored / "manifest.json").write_text('{"version": 1}')
    with pytest.raises(ArchiveCorrupt, match="damaged or altered"):
        await after.restore()
    assert look(after.workspace) == {}
    assert not after.marks.exists()


@pytest.mark.parametrize("step", ["scratch", "place"])
async def test_an_unpacking_that_was_cut_short_is_done_again(
    pods: Pods, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whatever it has left; nothing can be saved in between."""
    before, after = pods("before"), pods("after")
    fill(before.workspace)
    await before.save()
    if step == "scratch":
        (after.workspace / SCRATCH / "half").mkdir(parents=True)
        (after.workspace / SCRATCH / "half/file").write_text("half")
        (after.workspace / SCRATCH / "half").chmod(0o500)
    else:
        with monkeypatch.context() as patch:
            patch.setattr("agentrunner.archive.unpacking.os.utime", _fail_in_place(after.workspace))
            with pytest.raises(ArchiveError):
                await after.restore()
        assert look(after.workspace) != {}
        with pytest.raises(ArchiveConflict, match="not unpacked to the end"):
            await after.save()
    restored = await after.restore()
    assert restored is not None
    assert not restored.present
    assert look(after.workspace) == look(before.workspace)


def _fail_in_place(root: Path) -> Callable[..., None]:
    real = os.utime

    def utime(path: int | str | Path, **more: Any) -> None:
        if isinstance(path, Path) and path.is_relative_to(root) and SCRATCH not in path.parts:
            raise OSError(28, "No space left on device", str(path))
        real(path, **more)

    return utime
