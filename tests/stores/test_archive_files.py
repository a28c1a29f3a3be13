"""Archives that nobody of ours packed, and disks that say no: without a bucket."""

import io
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentrunner.archive.errors import ArchiveBlocked, ArchiveCorrupt
from agentrunner.archive.packing import Tally, pack
from agentrunner.archive.threads import on_disk
from agentrunner.archive.trees import SCRATCH, Tree, clear, clear_scratch, survey
from agentrunner.archive.unpacking import Source, Unpacking
from stores.archives import MIB, fill, look

Member = tuple[tarfile.TarInfo, bytes]
Members = list[Member]
NOBODY = 65534


def member(
    name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", **more: object
) -> tuple[tarfile.TarInfo, bytes]:
    """Return an entry of an archive."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


def archive(members: Members) -> bytes:
    """Return a compressed archive of such entries."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return compressed(plain.getvalue())


def compressed(plain: bytes) -> bytes:
    """Return the bytes as gzip."""
    return zlib.compress(plain, wbits=31)


def unpack(packed: bytes, root: Path, limit: int = 64 * MIB) -> Unpacking:
    """Unpack an archive into a tree."""
    pieces = iter([packed])
    unpacking = Unpacking({"workspace": root / SCRATCH})
    unpacking.begin()
    unpacking.run(Source(lambda: next(pieces, b""), limit))
    return unpacking


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Member:
    """Return a link."""
    return member(name, kind, linkname=target)


HOSTILE: dict[str, Members] = {
    "parent": [member("workspace/../evil", content=b"x")],
    "parent at the end": [member("workspace/a/..", tarfile.DIRTYPE)],
    "absolute": [member("/evil", content=b"x")],
    "absolute in the tree": [member("workspace//evil", content=b"x")],
    "dot": [member("workspace/./evil", content=b"x")],
    "another tree": [member("memory/evil", content=b"x")],
    "no tree": [member("evil", content=b"x")],
    "tree as file": [member("workspace", content=b"x")],
    "through a link": [link("workspace/a", "/tmp"), member("workspace/a/evil", content=b"x")],
    "through a link inside": [
        member("workspace/b", tarfile.DIRTYPE),
        link("workspace/a", "b"),
        member("workspace/a/evil", content=b"x"),
    ],
    "folder over a link": [link("workspace/a", "/tmp"), member("workspace/a", tarfile.DIRTYPE)],
    "file over a link": [link("workspace/a", "/tmp/evil"), member("workspace/a", content=b"x")],
    "file over a file": [member("workspace/a", content=b"x"), member("workspace/a", content=b"y")],
    "through a file": [member("workspace/a", content=b"x"), member("workspace/a/b", content=b"y")],
    "link out": [link("workspace/a", "workspace/../../etc/passwd", tarfile.LNKTYPE)],
    "absolute link": [link("workspace/a", "/etc/passwd", tarfile.LNKTYPE)],
    "link through a link": [link("workspace/a", "/etc"), link("workspace/b", "workspace/a/passwd", tarfile.LNKTYPE)],
    "link to a link": [link("workspace/a", "/etc/passwd"), link("workspace/b", "workspace/a", tarfile.LNKTYPE)],
    "link to nothing": [link("workspace/a", "workspace/missing", tarfile.LNKTYPE)],
    "link to a folder": [member("workspace/a", tarfile.DIRTYPE), link("workspace/b", "workspace/a", tarfile.LNKTYPE)],
    "device": [member("workspace/a", tarfile.CHRTYPE, devmajor=1, devminor=3)],
    "block device": [member("workspace/a", tarfile.BLKTYPE, devmajor=8)],
    "pipe": [member("workspace/a", tarfile.FIFOTYPE)],
    "unknown": [member("workspace/a", b"9")],
    "nul": [member("workspace/a", content=b"x", pax_headers={"path": "workspace/a\0b"})],
    "wrong time": [member("workspace/a", pax_headers={"mtime": "1e999"})],
    "no time": [member("workspace/a", pax_headers={"mtime": "nan"})],
    "huge header": [member("workspace/a", pax_headers={"comment": "x" * 3 * MIB})],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_refused(tmp_path: Path, case: str) -> None:
    """Nothing appears outside the scratch directory, which can be removed."""
    root = tmp_path / "workspace"
    with pytest.raises(ArchiveCorrupt):
        unpack(archive(HOSTILE[case]), root)
    clear_scratch(root)
    assert look(tmp_path).keys() == {b"workspace"}
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize("cut", [0, 1, 100, 600, 2000])
def test_an_archive_that_ends_early_is_refused(tmp_path: Path, cut: int) -> None:
    """Or is shorter than it should be, which the manifest tells."""
    whole = archive([member("workspace/a", content=os.urandom(5000)), member("workspace/b", content=b"y")])
    try:
        unpacking = unpack(whole[:cut], tmp_path)
    except ArchiveCorrupt:
        return
    assert unpacking.files < 2


@pytest.mark.parametrize("content", [b"no archive at all", compressed(b"\1" * 2000)], ids=["no gzip", "no tar"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    """By an error of ours."""
    with pytest.raises(ArchiveCorrupt):
        unpack(content, tmp_path)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """No more is written than was said to be in it."""
    bomb = archive([member("workspace/a", content=bytes(50 * MIB))])
    assert len(bomb) < MIB
    with pytest.raises(ArchiveCorrupt, match="more than was packed"):
        unpack(bomb, tmp_path, limit=5 * MIB)


def test_special_bits_are_dropped(tmp_path: Path) -> None:
    """Also from archives that have them."""
    unpack(archive([member("workspace/a", mode=0o7777), member("workspace/b", tarfile.DIRTYPE, mode=0o7777)]), tmp_path)
    assert (tmp_path / SCRATCH / "a").stat().st_mode & 0o7777 == 0o777


def shrink(file: Path) -> None:
    """Cut a file off."""
    os.truncate(file, 10)


def grow(file: Path) -> None:
    """Make a file longer."""
    with file.open("ab") as opened:
        opened.write(b"+" * 4 * MIB)


@pytest.mark.parametrize("change", [shrink, grow, Path.unlink])
def test_a_file_that_changes_while_it_is_read_harms_no_other(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """It is as long as it was at first; those after it are whole."""
    root, target = tmp_path / "from", tmp_path / "to"
    root.mkdir()
    (root / "a").write_bytes(os.urandom(4 * MIB))
    (root / "b").write_bytes(b"steady" * 1000)
    tally = Tally()
    pieces = pack({"workspace": Tree(root)}, 64 * MIB, 4096, tally)
    first = next(pieces)
    change(root / "a")
    unpack(first + b"".join(pieces), target)
    assert (target / SCRATCH / "a").stat().st_size == 4 * MIB
    assert (target / SCRATCH / "b").read_bytes() == b"steady" * 1000
    assert tally.torn == (change is not Path.unlink)


def test_a_folder_that_is_deep_is_packed(tmp_path: Path) -> None:
    """As deep as a path can be; no stack of ours ends before."""
    root, target = tmp_path / "f", tmp_path / "t"
    deep = root
    for _ in range(1500):
        deep.mkdir()
        deep /= "d"
    deep.touch()
    packed = b"".join(pack({"workspace": Tree(root)}, 64 * MIB, MIB, Tally()))
    unpacking = unpack(packed, target)
    unpacking.place({"workspace": target})
    assert target.joinpath(*["d"] * 1500).is_file()
    clear(Tree(root))
    clear(Tree(target))


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A directory of a user for whom modes hold, whom the test runs as."""
    with tempfile.TemporaryDirectory(prefix="archive-") as name:
        root = os.geteuid() == 0
        if root:
            os.chown(name, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            if root:
                os.seteuid(0)


def test_write_protected_folders_come_back(unprivileged: Path) -> None:
    """They can neither be filled nor moved nor emptied as they are."""
    root, target = unprivileged / "from", unprivileged / "to"
    fill(root)
    packed = b"".join(pack({"workspace": Tree(root)}, 512 * MIB, MIB, Tally()))
    unpacking = unpack(packed, target, 512 * MIB)
    unpacking.place({"workspace": target})
    assert look(target) == look(root)
    (target / SCRATCH).mkdir()
    (target / "locked").chmod(0o755)
    (target / "locked").rename(target / SCRATCH / "locked")
    (target / SCRATCH / "locked").chmod(0o500)
    clear_scratch(target)
    assert not (target / SCRATCH).exists()


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
async def test_what_cannot_be_read_is_named(unprivileged: Path, folder: bool) -> None:
    """An archive without it would be a loss that nobody hears of."""
    closed = unprivileged / "closed\n"
    make = Path.mkdir if folder else Path.touch
    make(closed, mode=0)
    trees = {"workspace": Tree(unprivileged)}
    with pytest.raises(ArchiveBlocked, match=r"Permission denied at '.*/closed\\n'"):
        await on_disk(lambda: list(pack(trees, MIB, MIB, Tally())))
    closed.chmod(0o700)


async def test_a_disk_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is not taken for one of the archive."""

    def full(descriptor: int, piece: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agentrunner.archive.unpacking.os.write", full)
    with pytest.raises(ArchiveBlocked, match="No space left on device"):
        unpack(archive([member("workspace/a", content=b"x")]), tmp_path)


def test_a_survey_counts_a_file_once(tmp_path: Path) -> None:
    """However many names it has, and whatever lies on the way."""
    (tmp_path / "a").write_bytes(bytes(1000))
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to("a")
    (tmp_path / SCRATCH).mkdir()
    (tmp_path / SCRATCH / "left").write_bytes(bytes(1000))
    assert survey({"workspace": Tree(tmp_path)}).bytes == 1000
