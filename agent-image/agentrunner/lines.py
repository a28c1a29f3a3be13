"""A transcript file as it grows: each line is read once, half-written ones wait."""

import json
import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


def digest(entry: Entry) -> str:
    """Return the hash of an entry that does not depend on how it was written down."""
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"))
    return f"sha256:{sha256(text.encode()).hexdigest()}"


def dump(entries: Iterable[Entry]) -> bytes:
    """Return entries as the CLI writes them, one a line."""
    return b"".join(_line(entry) for entry in entries)


def parse(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Yield the objects in lines; what is none is passed over, as the CLI does."""
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def read_all(path: Path) -> list[Entry]:
    """Return the entries of a file; none if there is no file."""
    return Tail(path).take()[0]


class Tail:
    """Reads what was added to a file since the last look.

    `broken` counts lines that are no entry, `half` is whether the file ends in the middle of a line: what was written
    without room for it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken = 0
        self.half = False
        self._offset = 0
        self._inode = 0

    def take(self) -> tuple[list[Entry], bool]:
        """Return the new entries, and whether the file is another one than before: then they are all there are."""
        try:
            with self.path.open("rb") as file:
                return self._take(file)
        except FileNotFoundError:
            other, self._offset, self.half = self._offset > 0, 0, False
            return [], other

    def _take(self, file: Any) -> tuple[list[Entry], bool]:
        size, inode = file.seek(0, 2), os.fstat(file.fileno()).st_ino
        other = self._offset > 0 and (size < self._offset or inode != self._inode)
        self._offset, self._inode = 0 if other else self._offset, inode
        file.seek(self._offset)
        whole, newline, rest = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        lines = [line for line in (whole + newline).split(b"\n") if line.strip()]
        entries = list(parse(lines))
        self.broken, self.half = self.broken + len(lines) - len(entries), bool(rest)
        return entries, other


def _line(entry: Entry) -> bytes:
    try:
        return json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair, which JavaScript lets pass
        return json.dumps(entry, separators=(",", ":")).encode() + b"\n"
