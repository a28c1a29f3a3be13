"""Trees to a compressed tar archive, piece by piece: nothing is held whole, whatever its size.

Files may change while they are read: each is as long in the archive as it was when it was opened, cut off or filled up
with zeros, so that all others stay where they belong. Owners, extended attributes, sockets, pipes and devices are not
kept.
"""

import os
import stat
import tarfile
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from agentrunner.archive.errors import ArchiveTooLarge
from agentrunner.archive.trees import PERMISSIONS, Entry, Kind, Tree, walk

CHUNK = 256 * 1024
NANOSECONDS = 10**9
ENCODING, ON_ERROR = "utf-8", "surrogateescape"
_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 1
"""Compression that keeps up with a disk; more of it costs several times the processor for a tenth of the size."""

_BLOCK = tarfile.BLOCKSIZE
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(slots=True)
class Tally:
    """What was packed so far: bytes before and after compression, entries, files that changed while being read.

    `sha256`, of the compressed bytes, is there once all were packed.
    """

    plain: int = 0
    packed: int = 0
    files: int = 0
    torn: int = 0
    sha256: str = ""


def pack(trees: Mapping[str, Tree], limit: int, size: int, tally: Tally) -> Generator[bytes, None, None]:
    """Yield the archive in parts of `size` bytes, the last one shorter.

    Raises ArchiveTooLarge over `limit` bytes before compression, and OSError.
    """
    waiting, digest = bytearray(), sha256()
    for piece in _compressed(trees, limit, tally):
        digest.update(piece)
        tally.packed += len(piece)
        waiting += piece
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
    tally.sha256 = digest.hexdigest()
    if waiting:
        yield bytes(waiting)


def _compressed(trees: Mapping[str, Tree], limit: int, tally: Tally) -> Iterator[bytes]:
    squeeze = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    for plain in _tar(trees, tally):
        tally.plain += len(plain)
        if tally.plain > limit:
            raise ArchiveTooLarge(tally.plain, limit)
        if piece := squeeze.compress(plain):
            yield piece
    yield squeeze.flush()


def _tar(trees: Mapping[str, Tree], tally: Tally) -> Iterator[bytes]:
    for name, tree in sorted(trees.items()):
        yield _header(_info(name, tarfile.DIRTYPE, 0o700, 0))
        linked: dict[tuple[int, int], str] = {}
        for entry in walk(tree):
            yield from _member(name, tree.root, entry, linked, tally)
    yield bytes(2 * _BLOCK)


def _member(tree: str, root: Path, entry: Entry, linked: dict[tuple[int, int], str], tally: Tally) -> Iterable[bytes]:
    """Return an entry's header and content; a file's further names are links to its first one."""
    name = f"{tree}/{entry.path}"
    if entry.kind is Kind.FILE and entry.inode not in linked:
        return _file(root / entry.path, name, entry.inode, linked, tally)
    tally.files += 1
    if entry.kind is Kind.FOLDER:
        return [_header(_info(name, tarfile.DIRTYPE, entry.mode, entry.modified))]
    kind, target = tarfile.SYMTYPE, entry.target
    if entry.inode is not None:
        kind, target = tarfile.LNKTYPE, linked[entry.inode]
    return [_header(_info(name, kind, entry.mode, entry.modified, target))]


def _file(
    path: Path, name: str, inode: tuple[int, int] | None, linked: dict[tuple[int, int], str], tally: Tally
) -> Iterator[bytes]:
    """Yield a file's header and content; nothing if it has vanished or become something else."""
    descriptor = _opened(path)
    if descriptor is None:
        return
    with open(descriptor, "rb", buffering=0) as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return
        info = _info(name, tarfile.REGTYPE, found.st_mode & PERMISSIONS, found.st_mtime_ns)
        info.size = found.st_size
        yield _header(info)
        tally.files += 1
        if inode is not None:
            linked[inode] = name
        left = info.size
        while left:
            piece = file.read(min(left, CHUNK)) or bytes(min(left, CHUNK))
            left -= len(piece)
            yield piece
        yield bytes(-info.size % _BLOCK)
        after = os.fstat(descriptor)
        tally.torn += (after.st_size, after.st_mtime_ns) != (found.st_size, found.st_mtime_ns)


def _opened(path: Path) -> int | None:
    """Return a file's descriptor; None if it is not there any more."""
    try:
        return os.open(path, _OPEN)
    except FileNotFoundError:
        return None
    except OSError:
        # What had been a file is a link, a socket or behind another kind of parent now: gone, as far as we go.
        if path.is_symlink() or not path.is_file():
            return None
        raise


def _info(name: str, kind: bytes, mode: int, modified: int, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname = kind, mode, target
    seconds, rest = divmod(abs(modified), NANOSECONDS)
    # tarfile's own times are floats, which have no room for nanoseconds.
    info.pax_headers = {"mtime": f"{'-' * (modified < 0)}{seconds}.{rest:09d}"}
    return info


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, ENCODING, ON_ERROR)
