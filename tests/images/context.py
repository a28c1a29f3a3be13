"""The files of a build: copied into a folder of their own, and hashed, so that equal inputs are built once."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_LEFT_OUT = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".DS_Store"}
_EPOCH = 946_684_800
"""Fixed time of all files (2000-01-01): buildah's layer cache looks at times as well as contents."""


def source_files(root: Path, sources: Sequence[str]) -> list[Path]:
    """Return the files that `sources` name, relative to `root` and sorted; a missing source is an error."""
    return sorted(path.relative_to(root) for source in sources for path in _files(root / source))


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for child in path.iterdir():
            if child.name not in _LEFT_OUT and child.suffix != ".pyc":
                yield from _files(child)
        return
    if not path.is_file():
        raise FileNotFoundError(path)
    yield path


def content_hash(root: Path, files: Iterable[Path], *facts: str) -> str:
    """Return 16 hex digits that change when a file's path, mode or content does, or one of `facts`."""
    digest = hashlib.sha256()
    for fact in facts:
        _add(digest, fact.encode())
    for file in files:
        _add(digest, str(file).encode())
        _add(digest, b"x" if os.access(root / file, os.X_OK) else b"-")
        _add(digest, (root / file).read_bytes())
    return digest.hexdigest()[:16]


def _add(digest: "hashlib._Hash", part: bytes) -> None:
    digest.update(len(part).to_bytes(8, "big"))
    digest.update(part)


def stage(root: Path, files: Iterable[Path], folder: Path) -> None:
    """Copy the files into `folder`, with fixed times and modes."""
    for file in files:
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / file, target)
        target.chmod(0o755 if os.access(root / file, os.X_OK) else 0o644)
        os.utime(target, (_EPOCH, _EPOCH))
    for directory in sorted(folder.rglob("*"), reverse=True):
        if directory.is_dir():
            directory.chmod(0o755)
            os.utime(directory, (_EPOCH, _EPOCH))
