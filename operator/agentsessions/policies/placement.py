"""Which host a session goes to: rendezvous hashing with bounded loads; pure.

The one place where this is decided. The operator asks it for sessions that have a resource, the gateway's directory
for those that have none; Envoy's own hash policies are not used, so that there is no second opinion (ADR 12).
"""

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from hashlib import blake2b


def rank(session_id: str, hosts: Iterable[str]) -> list[str]:
    """Return the hosts, by the stable names of their pods, in the order in which the session prefers them.

    Every pair of session and host has a weight of its own. A host that comes or goes changes no other's weight:
    only sessions that prefer it move.
    """
    return sorted(set(hosts), key=lambda host: (_weight(session_id, host), host), reverse=True)


def _weight(session_id: str, host: str) -> bytes:
    """Return the weight of a host for a session; big-endian bytes compare like the number that they are."""
    return blake2b(f"{host}\0{session_id}".encode(), digest_size=8).digest()


def place(
    session_id: str, loads: Mapping[str, int], capacity: Mapping[str, int], load_factor: Decimal = Decimal("1.25")
) -> str | None:
    """Return the first host by rank that has room, or None if none has.

    `loads` are the sessions on each host without this one, `capacity` how many each may hold. No host takes more than
    `load_factor` times the average, rounded up. Where hosts differ in capacity, all that have room may be above
    that: then the first of them by rank takes it, since a bound is no reason to leave room unused.
    """
    open_hosts = [host for host in loads if loads[host] < capacity.get(host, 0)]
    if not open_hosts:
        return None
    most = bound(loads, load_factor)
    ordered = rank(session_id, open_hosts)
    return next((host for host in ordered if loads[host] < most), ordered[0])


def bound(loads: Mapping[str, int], load_factor: Decimal) -> int:
    """Return how many sessions a host may hold once one more is placed."""
    return math.ceil(load_factor * (sum(loads.values()) + 1) / len(loads))
