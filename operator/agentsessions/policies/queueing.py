"""Who may start a pod now, and who waits for which bound: a line for each namespace, and turns between them; pure.

Within a namespace the order is total: the higher priority, then who has waited longer, then the uid. Namespaces know
nothing of each other's priorities: among them the one with the fewest starting pods is next. Namespaces of one tenant
share its bounds, and keep their lines.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agentsessions.api.config import Admission, Bounds
from agentsessions.api.host import START_SECONDS
from agentsessions.api.status import Queue

STARTING_FOR = timedelta(seconds=START_SECONDS)
"""How long a pod may keep others from starting: one that finds no node or no image must not do so for ever."""

_QUIET = timedelta(minutes=1)
_FARTHEST_LOOK = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Waiter:
    """A session that waits: namespace and name, uid, priority, and since when."""

    key: tuple[str, str]
    uid: str
    priority: int
    since: datetime

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return self.key[0]

    @property
    def rank(self) -> tuple[int, datetime, str]:
        """What it is sorted by among those of its namespace."""
        return -self.priority, self.since, self.uid


Tenants = Mapping[str, str]
"""The tenant of each namespace that has one."""
NO_TENANTS: Tenants = {}


@dataclass(frozen=True, slots=True)
class Used:
    """How many sessions have a pod, and how many of those are starting: by namespace, and by tenant (`of_`)."""

    running: Counter[str] = field(default_factory=Counter)
    waking: Counter[str] = field(default_factory=Counter)
    of_running: Counter[str] = field(default_factory=Counter)
    of_waking: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Turns:
    """Whose turn it is, in order, and what is used once all of them have started."""

    keys: tuple[tuple[str, str], ...]
    used: Used


def turns(lines: Mapping[str, Sequence[Waiter]], used: Used, rules: Admission, tenants: Tenants = NO_TENANTS) -> Turns:
    """Give out the free places; every line is sorted by rank. What tenants use is counted here."""
    used, given = _with_tenants(used, tenants), Counter[str]()
    chosen: list[tuple[str, str]] = []
    while not _all_full(used, rules):
        heads = [line[given[name]] for name, line in lines.items() if given[name] < len(line)]
        heads = [head for head in heads if not _party_full(head.namespace, used, rules, tenants)]
        if not heads:
            break
        first = min(heads, key=lambda head: (used.waking[head.namespace], head.since, head.uid))
        chosen.append(first.key)
        for count in (given, used.running, used.waking):
            count[first.namespace] += 1
        if tenant := tenants.get(first.namespace):
            used.of_running[tenant] += 1
            used.of_waking[tenant] += 1
    return Turns(tuple(chosen), used)


def obstacle(namespace: str, used: Used, rules: Admission, tenants: Tenants = NO_TENANTS) -> str:
    """Return which bound keeps the next session of a namespace from starting; empty if none does."""
    return _party_full(namespace, used, rules, tenants) or _all_full(used, rules)


def told(before: Queue | None, now: Queue, silence: timedelta) -> Queue:
    """Return what status is to say: what it says already, unless that is old or far off. `silence`: since then."""
    if before is None or before.priority != now.priority:
        return now
    return now if silence >= _QUIET or now.position * 2 <= before.position else before


def words(queue: Queue) -> str:
    """Return what the condition says of a session that waits; never its position, which changes too often."""
    return f"The session waits for its turn to start: {queue.reason}."


def look_again(position: int) -> timedelta:
    """Return when to look, should nobody call: sooner for those in front, so that a long line costs little."""
    return min(_QUIET + timedelta(seconds=position), _FARTHEST_LOOK)


def _with_tenants(used: Used, tenants: Tenants) -> Used:
    """Return what is used as counts of their own, those of tenants with them."""
    out = Used(Counter(used.running), Counter(used.waking))
    for counts, of in ((out.running, out.of_running), (out.waking, out.of_waking)):
        for namespace, count in counts.items():
            if tenant := tenants.get(namespace):
                of[tenant] += count
    return out


def _party_full(namespace: str, used: Used, rules: Admission, tenants: Tenants) -> str:
    """Return which bound of the namespace or of its tenant is reached; empty if none is."""
    own, counts = rules.namespaces.get(namespace, rules.per_namespace), (used.running, used.waking)
    if full := _full(f"namespace {namespace}", own, rules.per_namespace, *(one[namespace] for one in counts)):
        return full
    if not (tenant := tenants.get(namespace)):
        return ""
    theirs, counts = rules.tenants.get(tenant, rules.per_tenant), (used.of_running, used.of_waking)
    return _full(f"tenant {tenant}", theirs, rules.per_tenant, *(one[tenant] for one in counts))


def _full(party: str, own: Bounds, otherwise: Bounds, running: int, waking: int) -> str:
    """Return which bound of a party is reached; `otherwise` is what it has where it says nothing of its own."""
    most = otherwise.running if own.running is None else own.running
    if most and running >= most:
        return f"{party} runs {running} of {most}"
    most = otherwise.waking if own.waking is None else own.waking
    if most and waking >= most:
        return f"{party} starts {waking} of {most} at once"
    return ""


def _all_full(used: Used, rules: Admission) -> str:
    if rules.waking and (starting := used.waking.total()) >= rules.waking:
        return f"all namespaces together start {starting} of {rules.waking} at once"
    return ""
