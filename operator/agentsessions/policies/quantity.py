"""Kubernetes quantities as numbers (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/)."""

import re
from decimal import ROUND_CEILING, Decimal

_FORM = re.compile(r"\+?([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:([eE][+-]?[0-9]{1,3})|([KMGTPE]i|[munkMGTPE]))?")
_BINARY = {f"{letter}i": Decimal(2) ** (10 * power) for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL = {letter: Decimal(10) ** (3 * power) for power, letter in enumerate("kMGTPE", 1)}
_SMALL = {"m": Decimal("0.001"), "u": Decimal("0.000001"), "n": Decimal("0.000000001")}
_UNITS = _BINARY | _DECIMAL | _SMALL


def to_bytes(quantity: str) -> int:
    """Return a quantity as a whole number, rounded up; raises ValueError for what is none."""
    return int(to_number(quantity).to_integral_value(ROUND_CEILING))


def to_number(quantity: str) -> Decimal:
    """Return a quantity as a number; raises ValueError for what is none."""
    match = _FORM.fullmatch(quantity.strip())
    if match is None:
        raise ValueError(f"'{quantity}' is not a quantity, for example 512Mi")
    number, exponent, unit = match.groups()
    return Decimal(number + (exponent or "")) * _UNITS.get(unit or "", Decimal(1))


def from_bytes(count: int) -> str:
    """Return a number of bytes in the form people write: whole Mi where it is, else bytes."""
    return f"{count // 2**20}Mi" if count % 2**20 == 0 else str(count)
