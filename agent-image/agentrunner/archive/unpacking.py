"""A compressed tar archive to directory trees: first beside the tree, then into place.

Whoever wrote the archive is not trusted. A name has no part that leads upwards, every directory on the way to it was
made by this unpacking, and nothing is written over: so no symlink is ever followed. Symlinks themselves come back as
they were, wherever they lead: the interpreter in a virtual environment is one to an absolute path.
"""

import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

from agentrunner.archive.errors import ArchiveBlocked, ArchiveCorrupt, ArchiveError
from agentrunner.archive.packing import CHUNK, ENCODING, NANOSECONDS, ON_ERROR
from agentrunner.archive.trees import PERMISSIONS

MAX_READ = 1024 * 1024
"""More is never read at once. Only a header that claims to be larger asks for it."""

_SLICE = 64 * 1024
_ZEROS = bytes(CHUNK)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Source:
    """The archive's plain bytes, from front to end. `pull` returns the next compressed ones, at last none."""

    def __init__(self, pull: Callable[[], bytes], limit: int) -> None:
        self._pull = pull
        self._limit = limit
        self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._part = memoryview(b"")
        self._ready = memoryview(b"")
        self._digest = sha256()
        self.plain = 0
        self.packed = 0

    @property
    def sha256(self) -> str:
        """Hash of all that was pulled so far."""
        return self._digest.hexdigest()

    def read(self, size: int) -> bytes:
        """Return so many bytes, less only at the end."""
        if not 0 <= size <= MAX_READ:
            raise ArchiveCorrupt("the archive has a header of unreasonable size")
        parts = []
        while size > 0 and (self._ready or self._fill()):
            parts.append(self._ready[:size])
            self._ready = self._ready[size:]
            size -= len(parts[-1])
        read = b"".join(parts)
        self.plain += len(read)
        return read

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self.plain

    def seek(self, position: int) -> None:
        """Pass over what comes before a position ahead."""
        while self.plain < position and self.read(min(position - self.plain, CHUNK)):
            pass

    def finish(self) -> None:
        """Read what is left."""
        while self.read(CHUNK):
            pass
        while self._pulled():
            pass

    def _fill(self) -> bool:
        """Decompress some more; return whether there was any."""
        while not self._ready and not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._slice()
            if not packed:
                return False
            self._ready = memoryview(self._inflate.decompress(packed, CHUNK))
            if self.plain + len(self._ready) > self._limit:
                raise ArchiveCorrupt("the archive unpacks to more than was packed")
        return bool(self._ready)

    def _slice(self) -> memoryview:
        """Return a little of a part: what is not decompressed at once is copied."""
        self._part = self._part or memoryview(self._pulled())
        piece, self._part = self._part[:_SLICE], self._part[_SLICE:]
        return piece

    def _pulled(self) -> bytes:
        packed = self._pull()
        self._digest.update(packed)
        self.packed += len(packed)
        return packed


class Unpacking:
    """One archive on its way to disk, by way of a scratch directory for each tree, on the tree's own file system."""

    def __init__(self, scratches: Mapping[str, Path]) -> None:
        self._scratches = scratches
        self._made = {(name, "") for name in scratches}
        self._folders: list[tuple[str, str, int, int]] = []
        self.files = 0

    def begin(self) -> None:
        """Make the scratch directories; raises OSError."""
        for scratch in self._scratches.values():
            scratch.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            scratch.mkdir(mode=0o700)

    def run(self, source: Source) -> None:
        """Unpack all of it; raises ArchiveCorrupt and ArchiveBlocked."""
        with _translated(), tarfile.TarFile(fileobj=source, encoding=ENCODING, errors=ON_ERROR) as tar:  # type: ignore[arg-type]
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would remember them all
                self._take(member, source)
            source.finish()

    def place(self, roots: Mapping[str, Path]) -> None:
        """Move all into the trees, and then give directories their modes and times; raises OSError."""
        for name, scratch in self._scratches.items():
            _merge(scratch, roots[name])
        # Only now, and from the inside out: a write-protected directory could neither be filled nor moved.
        for name, path, mode, modified in reversed(self._folders):
            place = roots[name] / path
            place.chmod(mode)
            os.utime(place, ns=(modified, modified))

    def _take(self, member: tarfile.TarInfo, source: Source) -> None:
        name, path = self._checked(member.name)
        if not path:
            _require(member.isdir(), "a tree that is no directory")
            return
        place = self._scratches[name] / path
        self._make_parents(name, path)
        self.files += 1
        if member.isdir():
            self._folder(name, path, member)
        elif member.issym():
            os.symlink(member.linkname, place)
            os.utime(place, ns=_times(member), follow_symlinks=False)
        elif member.islnk():
            self._link(name, place, member.linkname)
        else:
            _require(member.type == tarfile.REGTYPE and not member.issparse(), "an entry that is no file")
            _write(place, member, source)

    def _checked(self, whole: str) -> tuple[str, str]:
        """Return tree and path of a name."""
        name, _, path = whole.partition("/")
        _require(name in self._scratches, "a tree that was not asked for")
        _require(not path or not {"", ".", ".."} & set(path.split("/")), "a name that leads out of its tree")
        return name, path

    def _make_parents(self, name: str, path: str) -> None:
        """Make the directories on the way to a path, which the archive need not hold themselves."""
        if (name, path.rpartition("/")[0]) in self._made:
            return
        parts = path.split("/")
        for end in range(1, len(parts)):
            self._make(name, "/".join(parts[:end]))

    def _make(self, name: str, path: str) -> None:
        if (name, path) not in self._made:
            (self._scratches[name] / path).mkdir(mode=0o700)
            self._made.add((name, path))

    def _folder(self, name: str, path: str, member: tarfile.TarInfo) -> None:
        self._make(name, path)
        self._folders.append((name, path, member.mode & PERMISSIONS, _times(member)[0]))

    def _link(self, name: str, place: Path, target: str) -> None:
        """Give a file of the same tree one more name."""
        other, path = self._checked(target)
        parent = path.rpartition("/")[0]
        _require(other == name and (name, parent) in self._made, "a link out of its tree")
        origin = self._scratches[name] / path
        _require(stat.S_ISREG(origin.lstat().st_mode), "a link to what is no file")
        os.link(origin, place, follow_symlinks=False)


def _write(place: Path, member: tarfile.TarInfo, source: Source) -> None:
    """Write a file; stretches of zeros take no room on disk."""
    with open(os.open(place, _CREATE, 0o600), "wb", buffering=0) as file:
        left = member.size
        while left:
            piece = source.read(min(left, CHUNK))
            _require(len(piece) > 0, "a file that is cut off")
            left -= len(piece)
            if piece == _ZEROS[: len(piece)]:
                file.seek(len(piece), os.SEEK_CUR)
            else:
                _write_all(file.fileno(), piece)
        file.truncate(member.size)
        os.fchmod(file.fileno(), member.mode & PERMISSIONS)
        os.utime(file.fileno(), ns=_times(member))


def _write_all(descriptor: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _times(member: tarfile.TarInfo) -> tuple[int, int]:
    exact = int(Decimal(member.pax_headers.get("mtime", str(member.mtime))) * NANOSECONDS)
    return exact, exact


def _merge(source: Path, target: Path) -> None:
    """Move what is in one directory into another; only directories may be there already."""
    for name in sorted(os.listdir(source)):
        here, there = source / name, target / name
        if _is_folder(here) and _is_folder(there):
            _merge(here, there)
        else:
            here.rename(there)
    source.rmdir()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ArchiveCorrupt(f"the archive holds {what}: it was damaged or altered")


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what goes wrong with an archive or the disk into the archive's errors."""
    try:
        yield
    except ArchiveError:
        raise
    except (FileExistsError, FileNotFoundError, NotADirectoryError):
        raise ArchiveCorrupt("the archive holds names that exclude each other: it was damaged or altered") from None
    except OSError as error:
        raise ArchiveBlocked.by(error) from None
    except (tarfile.TarError, zlib.error, ArithmeticError, ValueError):
        raise ArchiveCorrupt("the archive cannot be read: it was damaged or altered") from None
