"""How many sessions a host holds (H36): (its memory - overhead) / the ceiling of one session; pure."""

from dataclasses import dataclass

from agentsessions.api.pool import DEFAULT_SESSIONS_PER_HOST, AgentPoolSpec
from agentsessions.policies.quantity import from_bytes, to_bytes

MOST_SESSIONS = 1000


@dataclass(frozen=True, slots=True)
class HostSize:
    """The size of one host."""

    sessions: int
    memory: str


def host_size(spec: AgentPoolSpec) -> HostSize:
    """Return the size of the pool's hosts; raises ValueError, naming the field, for what cannot hold a session."""
    overhead, each = _bytes("overheadMemory", spec.overhead_memory), _bytes("perSessionMemory", spec.per_session_memory)
    if spec.host_memory is None:
        count = spec.sessions_per_host or DEFAULT_SESSIONS_PER_HOST
        return HostSize(count, from_bytes(overhead + count * each))
    count = (_bytes("hostMemory", spec.host_memory) - overhead) // each
    if count < 1:
        raise ValueError(
            "`hostMemory` must be at least `overheadMemory` + `perSessionMemory` "
            f"({spec.overhead_memory} + {spec.per_session_memory}), or it holds no session"
        )
    return HostSize(min(count, MOST_SESSIONS), spec.host_memory)


def _bytes(field: str, quantity: str) -> int:
    """Return the bytes of a field."""
    try:
        count = to_bytes(quantity)
    except ValueError as error:
        raise ValueError(f"`{field}`: {error}") from None
    if count < 1:
        raise ValueError(f"`{field}` must be more than nothing")
    return count
