"""Names of objects in a bucket, and which of them count. Pure.

Below a session's name:

    main/{stamp}-{entries}-{salt}[-{epoch}].part.jsonl     entries that were added
    main/{stamp}-{entries}-{salt}[-{epoch}].whole.jsonl    all entries up to and with that stamp
    sub/{subpath as one segment}/…                         the same for each subkey
    fence/{epoch}-{stamp}                                  a claim: what earlier epochs put after that stamp never was

Stamps are microseconds since 1970 and grow from object to object. The latest whole and the parts after it are the
transcript; what is older was there before the whole was put, and is removed after it or with the next one. So one PUT
adds entries, one PUT replaces all of them, a crash leaves nothing that counts twice, and a listing says how many there
are.

Who claims a session puts a fence first that cuts nothing off, then lists what there is, and puts the fence that cuts
off what comes after it. A writer looks for later fences after it has put something, and before it says so or removes
anything: what it has said is there was put before the claimer's listing, and counts.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

MAIN = "main"
SUB = "sub"
FENCE = "fence"
NO_CUT = 10**17 - 1
"""Stamp of a fence that cuts nothing off."""

_NAME = re.compile(r"/(\d{17})-(\d{9})-[0-9a-f]{8}(?:-(\d{9}))?\.(part|whole)\.jsonl$")
_FENCE = re.compile(r"/(\d{9})-(\d{17})$")
_PLAIN = re.compile(rb"[A-Za-z0-9._-]")
_QUOTED = re.compile(rb"!([0-9A-F]{2})")


@dataclass(frozen=True, slots=True)
class Chunk:
    """One object: entries of a transcript."""

    path: str
    size: int
    stamp: int
    entries: int
    whole: bool
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Fence:
    """A claim: of what earlier epochs put, only what is not later than `stamp` counts."""

    path: str
    epoch: int
    stamp: int


def name(stamp: int, entries: int, salt: str, whole: bool, epoch: int | None = None) -> str:
    """Return the last part of an object's name."""
    mark = f"-{epoch:09d}" if epoch is not None else ""
    return f"{stamp:017d}-{entries:09d}-{salt}{mark}.{'whole' if whole else 'part'}.jsonl"


def fence_name(epoch: int, stamp: int) -> str:
    """Return the last part of a fence's name."""
    return f"{epoch:09d}-{stamp:017d}"


def fence(path: str) -> Fence | None:
    """Return what a fence's name says; None if the object is none of ours."""
    found = _FENCE.search(path)
    return Fence(path, int(found[1]), int(found[2])) if found else None


def chunk(path: str, size: int) -> Chunk | None:
    """Return what an object's name says; None if the object is not ours."""
    found = _NAME.search(path)
    if found is None:
        return None
    return Chunk(path, size, int(found[1]), int(found[2]), found[4] == "whole", int(found[3] or 0))


def inside(chunks: Iterable[Chunk], fences: Iterable[Fence]) -> list[Chunk]:
    """Return the objects that no fence cuts off."""
    cuts = list(fences)
    return [item for item in chunks if all(item.epoch >= cut.epoch or item.stamp <= cut.stamp for cut in cuts)]


def transcript(chunks: Iterable[Chunk]) -> list[Chunk]:
    """Return the objects that make the transcript, in order."""
    ordered = sorted(chunks, key=lambda item: (item.stamp, item.path))
    whole = max((item for item in ordered if item.whole), key=lambda item: (item.stamp, item.path), default=None)
    if whole is None:
        return ordered
    return [whole, *(item for item in ordered if item.stamp > whole.stamp)]


def last(chunks: Iterable[Chunk]) -> int:
    """Return the latest stamp; 0 if there is none."""
    return max((item.stamp for item in chunks), default=0)


def folder(path: str) -> str:
    """Return the name of the folder that an object is in."""
    return path.rpartition("/")[0]


def quoted(text: str) -> str:
    """Return text as one segment of a name that every server and client takes as it is."""
    return "".join(chr(byte) if _PLAIN.match(bytes([byte])) else f"!{byte:02X}" for byte in text.encode())


def unquoted(segment: str) -> str:
    """Return the text of a segment."""
    return _QUOTED.sub(lambda found: bytes([int(found[1], 16)]), segment.encode()).decode()
