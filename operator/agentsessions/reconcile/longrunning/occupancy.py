"""Who sits where, by what watches, passes and hosts have told: workers at the same time must not overfill a host.

Only for counting, and to know where a deleted session was. That two of them disagree for a moment costs balance, never
a session: the host itself refuses what it has no room for.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agentsessions.api.base import Json
from agentsessions.api.conditions import LIMITED, Reason
from agentsessions.api.session import AgentSession
from agentsessions.hosts.views import HostView
from agentsessions.policies.hosts import HostFacts

Key = tuple[str, str]
_AT_REST = frozenset({Reason.ASLEEP, Reason.SUSPENDED})
_REMEMBERED = 1000
FULL_FOR = timedelta(seconds=30)
"""How long a host that had no room is not asked again."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A session's place, or that it has none (`pod` is empty) and wants none (`asleep`); `pool` may be empty too.

    `unstored`: by its status, the conversation is not in its store.
    """

    uid: str
    key: Key
    pool: str
    pod: str = ""
    pod_uid: str = ""
    asleep: bool = False
    unstored: bool = False


@dataclass
class Occupancy:
    """All sessions that last, by pool, the hosts that were full a moment ago, and those lost with their nodes."""

    _seats: dict[str, Seat] = field(default_factory=dict)
    _pools: dict[Key, dict[str, Seat]] = field(default_factory=dict)
    _keys: dict[Key, set[str]] = field(default_factory=dict)
    _full: dict[str, datetime] = field(default_factory=dict)
    _given_up: dict[str, None] = field(default_factory=dict)

    def told(self, body: Json) -> None:
        """Take note of what a watch delivers; what a pass knows is newer, and stays."""
        if body["metadata"]["uid"] not in self._seats and (seat := _seat_of_body(body)):
            self._sit(seat)

    def read(self, session: AgentSession) -> None:
        """Take note of a session as a pass has read it, or is about to write it."""
        if not session.lasts:
            return
        host, pool = session.status.host, session.spec.pool_ref.name if session.spec.pool_ref else ""
        pod, pod_uid = (host.pod, host.pod_uid or "") if host else ("", "")
        ready = session.status.condition("Ready")
        asleep = ready is not None and _is_at_rest(ready.reason, pod)
        durable = session.status.condition("TranscriptDurable")
        unstored = durable is not None and durable.status == "False"
        self._sit(Seat(session.metadata.uid, session.key, pool, pod, pod_uid, asleep, unstored))

    def give_up(self, pod_uid: str) -> None:
        """Take note of a host that is taken off the API server, since its node is not heard of.

        Only a help: after a restart, of such a host is known no more than that it is gone.
        """
        self._given_up[pod_uid] = None
        while len(self._given_up) > _REMEMBERED:
            del self._given_up[next(iter(self._given_up))]

    def is_given_up(self, pod_uid: str) -> bool:
        """Return whether a host was lost with its node."""
        return pod_uid in self._given_up

    def leave(self, uid: str) -> None:
        """Forget a session that is gone."""
        seat = self._seats.pop(uid, None)
        if seat is None:
            return
        del self._pools[seat.key[0], seat.pool][uid]
        self._keys[seat.key].discard(uid)
        if not self._keys[seat.key]:
            del self._keys[seat.key]

    def seat(self, uid: str) -> Seat | None:
        """Return the place of a session."""
        return self._seats.get(uid)

    def under(self, key: Key) -> list[Seat]:
        """Return the places of all sessions that bear, or bore, that name."""
        return [self._seats[uid] for uid in self._keys.get(key, ())]

    def at(self, pod_uid: str) -> list[Seat]:
        """Return the sessions at a host, and those that wait for one."""
        return [seat for seat in self._seats.values() if seat.pod_uid in ("", pod_uid) and not seat.asleep]

    def waiting(self, namespace: str, pool: str) -> list[Seat]:
        """Return the sessions of a pool that wait for a host."""
        seats = self._pools.get((namespace, pool), {}).values()
        return [seat for seat in seats if not seat.pod and not seat.asleep]

    def unstored(self, pool: Key, pod_uids: Collection[str]) -> int:
        """Return how many sessions of a pool on these hosts are not in their store, as their own status has it."""
        return sum(seat.unstored and seat.pod_uid in pod_uids for seat in self._pools.get(pool, {}).values())

    def loads(self, uid: str, pool: Key, hosts: Sequence[HostFacts], views: Iterable[HostView]) -> dict[str, int]:
        """Return how many other sessions each host has, by pod name; views tell of those without a resource."""
        known = {view.address.uid: view for view in views}
        seats = self._pools.get(pool, {})
        ids: dict[str, set[str]] = {host.name: set() for host in hosts}
        for seat in seats.values():
            if seat.pod in ids:
                ids[seat.pod].add(seat.uid)
        for host in hosts:
            view = known.get(host.uid)
            ids[host.name] |= {one for one in (view.sessions if view else ()) if one not in seats}
        return {name: len(found - {uid}) for name, found in ids.items()}

    def refused(self, pod_uid: str, now: datetime) -> None:
        """Take note that a host has no room."""
        self._full[pod_uid] = now + FULL_FOR

    def full(self, now: datetime) -> frozenset[str]:
        """Return the pods that had no room a moment ago."""
        self._full = {uid: until for uid, until in self._full.items() if until > now}
        return frozenset(self._full)

    def _sit(self, seat: Seat) -> None:
        """Put a session into its place, and out of the one before."""
        self.leave(seat.uid)
        self._seats[seat.uid] = seat
        self._pools.setdefault((seat.key[0], seat.pool), {})[seat.uid] = seat
        self._keys.setdefault(seat.key, set()).add(seat.uid)


def capacities(hosts: Iterable[HostFacts], views: Mapping[str, HostView], otherwise: int) -> dict[str, int]:
    """Return how many sessions each host holds at most, by pod name: as it says itself, or as the pool says."""
    out = {}
    for host in hosts:
        view = views.get(host.uid)
        out[host.name] = view.capacity if view and view.heard else otherwise
    return out


def _seat_of_body(body: Json) -> Seat | None:
    """Return the place of a session as a watch has it, or None for one that does not last."""
    meta, spec, status = body["metadata"], body.get("spec", {}), body.get("status", {})
    if spec.get("pattern", "Ephemeral") == "Ephemeral":
        return None
    host, key = status.get("host", {}), (meta["namespace"], meta["name"])
    pool = spec.get("poolRef", {}).get("name", "")
    conditions: dict[str, Json] = {one.get("type"): one for one in status.get("conditions", [])}
    pod = host.get("pod", "")
    asleep = _is_at_rest(conditions.get("Ready", {}).get("reason"), pod)
    unstored = conditions.get("TranscriptDurable", {}).get("status") == "False"
    return Seat(meta["uid"], key, pool, pod, host.get("podUID", ""), asleep, unstored)


def _is_at_rest(reason: str | None, pod: str) -> bool:
    """Return whether a session wants no place; one that has reached a bound wants none if it has none."""
    return reason in _AT_REST or (reason in LIMITED and not pod)
