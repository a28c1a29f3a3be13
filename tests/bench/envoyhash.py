"""Envoy's two consistent hashes as Envoy computes them, to be set beside the project's own placement; pure.

Members are known by name, as by `hash_key` in an endpoint's metadata, and are of equal weight.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from math import ceil

TABLE_SIZE = 65_537
RING_POINTS = 1024
"""Envoy's defaults: `maglev.table_size`, `ring_hash.minimum_ring_size`."""

Choose = Callable[[int], str]
"""Returns the member for a hash."""

_MASK = 2**64 - 1
_P1, _P2, _P3, _P4, _P5 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)
"""The constants of xxHash64."""


def maglev(members: Sequence[str], size: int = TABLE_SIZE) -> Choose:
    """Return the choice of a MAGLEV table: members take turns to claim their next free place by preference."""
    names = sorted(members)
    hashes = [(xxh64(name.encode()) % size, xxh64(name.encode(), 1) % (size - 1) + 1) for name in names]
    table, places = [""] * size, [offset for offset, _ in hashes]
    for turn in range(size):
        member = turn % len(names)
        while table[places[member]]:
            places[member] = (places[member] + hashes[member][1]) % size
        table[places[member]] = names[member]
    return lambda value: table[value % size]


def ring(members: Sequence[str], points: int = RING_POINTS) -> Choose:
    """Return the choice of a RING_HASH: the member of the first point at or after the hash."""
    each = ceil(points / len(members))
    placed = sorted((xxh64(f"{name}_{number}".encode()), name) for name in members for number in range(each))
    values = [value for value, _ in placed]
    return lambda value: placed[bisect_left(values, value) % len(placed)][1]


def xxh64(data: bytes, seed: int = 0) -> int:
    """Return the xxHash64 of bytes."""
    stripes = len(data) // 32 * 32
    value = _striped(data[:stripes], seed) if stripes else seed + _P5
    return _avalanche(_tail(data[stripes:], (value + len(data)) & _MASK))


def _striped(data: bytes, seed: int) -> int:
    """Return what four lanes make of whole stripes of 32 bytes."""
    lanes = [(seed + _P1 + _P2) & _MASK, (seed + _P2) & _MASK, seed & _MASK, (seed - _P1) & _MASK]
    for at in range(0, len(data), 8):
        lane = at // 8 % 4
        lanes[lane] = _round(lanes[lane], _word(data, at, 8))
    value = sum(_left(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
    for lane in lanes:
        value = ((value ^ _round(0, lane)) * _P1 + _P4) & _MASK
    return value


def _tail(data: bytes, value: int) -> int:
    """Mix in what is left over after the stripes."""
    at = 0
    while len(data) - at >= 8:
        value = (_left(value ^ _round(0, _word(data, at, 8)), 27) * _P1 + _P4) & _MASK
        at += 8
    if len(data) - at >= 4:
        value = (_left(value ^ (_word(data, at, 4) * _P1 & _MASK), 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        value = _left(value ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    return value


def _avalanche(value: int) -> int:
    value = (value ^ value >> 33) * _P2 & _MASK
    value = (value ^ value >> 29) * _P3 & _MASK
    return value ^ value >> 32


def _round(lane: int, word: int) -> int:
    return _left((lane + word * _P2) & _MASK, 31) * _P1 & _MASK


def _left(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK


def _word(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
