"""Limits and requests by one rule: limits as said; memory and disk set aside whole, CPU a quarter of it.

An agent waits for its model most of the time, so CPU can be shared; memory and disk cannot.
"""

from decimal import Decimal

from agentsessions.api.base import Json
from agentsessions.api.template import ResourceRequests, Resources

CPU_SHARE = Decimal("0.25")

_MOST_DIGITS = 9
"""A power of ten beyond which no node has cores; writing out 1e999999 would take minutes."""


def resource_requirements(resources: Resources | None) -> Json:
    """Return a container's `resources`."""
    resources = resources or Resources()
    wanted = resources.requests or ResourceRequests()
    limits = {
        "cpu": resources.cpu,
        "memory": resources.memory,
        "ephemeral-storage": resources.ephemeral_storage,
    }
    requests = {
        "cpu": wanted.cpu or (cpu_request(resources.cpu) if resources.cpu else None),
        "memory": wanted.memory or resources.memory,
        "ephemeral-storage": wanted.ephemeral_storage or resources.ephemeral_storage,
    }
    return {"limits": _set(limits), "requests": _set(requests)}


def cpu_request(limit: str) -> str:
    """Return the CPU to set aside for a limit, in whole millicores, one at least."""
    try:
        cores = Decimal(limit[:-1]) / 1000 if limit.endswith("m") else Decimal(limit)
    except ArithmeticError:
        cores = Decimal("NaN")
    if not cores.is_finite() or cores.adjusted() > _MOST_DIGITS:
        return "250m"  # forms that nobody uses for CPU, and nonsense: the API server judges the limit
    return f"{max(1, int(cores * CPU_SHARE * 1000))}m"


def _set(quantities: dict[str, str | None]) -> dict[str, str]:
    """Leave out what is not set."""
    return {name: value for name, value in quantities.items() if value is not None}
