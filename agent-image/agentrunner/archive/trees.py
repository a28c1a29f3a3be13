"""Directory trees as they are on disk: what belongs to the archive, whether it has changed, and its removal.

Paths are relative to the tree's root, with "/", and hold bytes that are no UTF-8 as surrogates. No symlink is followed.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import sha256
from pathlib import Path

SCRATCH = ".agentsessions-unpacking"
"""Directory in a tree's root in which an archive is unpacked; never a part of the tree."""

PERMISSIONS = 0o777
"""What is kept of a mode: nothing that would lend anybody another's identity."""

_GONE = (FileNotFoundError, NotADirectoryError)


class Kind(Enum):
    """What an entry is; all else that a file system knows is passed over."""

    FILE = auto()
    FOLDER = auto()
    LINK = auto()


class _Reach(Enum):
    NOTHING = auto()
    ON_THE_WAY = auto()
    ALL = auto()


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory, or what `only` selects of it: paths, whose parts may be `*`, with all that is below them."""

    root: Path
    only: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory or symlink. `inode` is set for a file that has several names; times are in nanoseconds."""

    path: str
    kind: Kind
    size: int
    mode: int
    modified: int
    changed: int
    inode: tuple[int, int] | None
    target: str


@dataclass(frozen=True, slots=True)
class Survey:
    """Trees at a glance: bytes in files, a fingerprint that changes when anything does, the directories' inodes."""

    bytes: int
    fingerprint: str
    roots: dict[str, int]


def walk(tree: Tree) -> Iterator[Entry]:
    """Yield the tree's entries in a steady order, a directory before what is in it; what vanishes is passed over."""
    patterns = None if tree.only is None else [tuple(one.split("/")) for one in tree.only]
    levels = [iter(_paths(tree.root, ""))]
    while levels:
        path = next(levels[-1], None)
        if path is None:
            levels.pop()
            continue
        reach = _reach(path, patterns)
        entry = None if reach is _Reach.NOTHING else _entry(tree.root, path)
        if entry is None:
            continue
        if reach is _Reach.ALL:
            yield entry
        if entry.kind is Kind.FOLDER:
            levels.append(iter(_paths(tree.root, path)))


def survey(trees: Mapping[str, Tree]) -> Survey:
    """Return how large trees are and what they look like, by what the file system says without reading a file."""
    total, digest = 0, sha256()
    for name, tree in sorted(trees.items()):
        linked: set[tuple[int, int]] = set()
        for entry in walk(tree):
            digest.update(_line(name, entry))
            if entry.kind is Kind.FILE and entry.inode not in linked:
                total += entry.size
            if entry.inode is not None:
                linked.add(entry.inode)
    return Survey(total, digest.hexdigest(), {name: inode(tree) for name, tree in trees.items()})


def occupied(tree: Tree) -> bool:
    """Return whether there is anything but directories."""
    return any(entry.kind is not Kind.FOLDER for entry in walk(tree))


def inode(tree: Tree) -> int:
    """Return the number of the tree's directory; 0 if there is none."""
    try:
        return tree.root.stat().st_ino
    except FileNotFoundError:
        return 0


def clear(tree: Tree) -> None:
    """Remove the tree's entries, also from directories that are write-protected."""
    doomed = []
    for entry in walk(tree):
        if entry.kind is Kind.FOLDER:
            (tree.root / entry.path).chmod(0o700)
        doomed.append((tree.root / entry.path, entry.kind))
    for path, kind in reversed(doomed):
        if kind is Kind.FOLDER:
            with suppress(OSError):  # something that is no part of the tree lies in it
                path.rmdir()
        else:
            path.unlink(missing_ok=True)


def clear_scratch(root: Path) -> None:
    """Remove what an unpacking that was cut short has left."""
    scratch = root / SCRATCH
    if scratch.is_symlink() or scratch.is_file():
        scratch.unlink()
    elif scratch.exists():
        clear(Tree(scratch))
        scratch.rmdir()


def _paths(root: Path, folder: str) -> list[str]:
    try:
        names = sorted(os.listdir(root / folder))
    except _GONE:
        return []
    return [f"{folder}/{name}" for name in names] if folder else [name for name in names if name != SCRATCH]


def _entry(root: Path, path: str) -> Entry | None:
    """Return what is at a path; None if it has vanished, or is a socket, a pipe or a device."""
    place = os.path.join(root, path)
    try:
        found = os.lstat(place)
        target = os.readlink(place) if stat.S_ISLNK(found.st_mode) else ""
    except _GONE:
        return None
    kind = _kind(found.st_mode)
    if kind is None:
        return None
    several = kind is Kind.FILE and found.st_nlink > 1
    return Entry(
        path,
        kind,
        found.st_size if kind is Kind.FILE else 0,
        found.st_mode & PERMISSIONS,
        found.st_mtime_ns,
        found.st_ctime_ns,
        (found.st_dev, found.st_ino) if several else None,
        target,
    )


def _kind(mode: int) -> Kind | None:
    if stat.S_ISREG(mode):
        return Kind.FILE
    if stat.S_ISDIR(mode):
        return Kind.FOLDER
    return Kind.LINK if stat.S_ISLNK(mode) else None


def _reach(path: str, patterns: list[tuple[str, ...]] | None) -> _Reach:
    """Return whether a path is selected, or leads to what is."""
    if patterns is None:
        return _Reach.ALL
    parts = path.split("/")
    matching = [one for one in patterns if all(want in ("*", part) for want, part in zip(one, parts, strict=False))]
    if not matching:
        return _Reach.NOTHING
    return _Reach.ALL if any(len(one) <= len(parts) for one in matching) else _Reach.ON_THE_WAY


def _line(name: str, entry: Entry) -> bytes:
    """Return an entry for the fingerprint. `changed` tells of what kept its size and was given its old time back."""
    times = (entry.modified,) if entry.kind is Kind.FOLDER else (entry.modified, entry.changed)
    facts = (name, entry.path, entry.kind.name, entry.size, entry.mode, *times, entry.target)
    return b"\0".join(os.fsencode(str(fact)) for fact in facts) + b"\0\0"
