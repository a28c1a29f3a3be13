"""What a session's processes weigh: memory and CPU time of the CLI and of all that it has started."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from agentrunner.serving.processes import cpu_seconds, memory

_NOTABLE = 0.1
_UNITS: dict[str, Decimal] = {
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "m": Decimal("0.001"),
}


@dataclass(frozen=True, slots=True)
class Weight:
    """A reading; None where there is no process."""

    memory_bytes: int | None = None
    cpu_seconds: float | None = None

    def is_over(self, limit: str | None) -> bool:
        """Return whether it is over a Kubernetes quantity of memory."""
        return limit is not None and self.memory_bytes is not None and self.memory_bytes > in_bytes(limit)

    def differs(self, before: "Weight") -> bool:
        """Return whether memory has changed enough to be worth telling."""
        old, new = before.memory_bytes, self.memory_bytes
        if old is None or new is None:
            return old is not new
        return abs(new - old) > old * _NOTABLE


def weigh(family: Sequence[int]) -> Weight:
    """Return what processes weigh together."""
    if not family:
        return Weight()
    return Weight(memory(family), round(cpu_seconds(family), 2))


def in_bytes(quantity: str) -> int:
    """Return a Kubernetes quantity as a number of bytes."""
    unit = next((name for name in _UNITS if quantity.endswith(name)), "")
    return int(Decimal(quantity.removesuffix(unit)) * _UNITS.get(unit, 1))
