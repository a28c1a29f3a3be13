"""Two operators, and which of them leads."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from e2e import install
from e2e.api import LEASES, PODS, Api, Json
from e2e.audit import describe
from e2e.lab import Lab
from e2e.operator_pod import NAMESPACE, RELEASE
from e2e.waiting import wait_for

_PAUSE_SECONDS = 3
_POD = "authentication.kubernetes.io/pod-name"


@contextmanager
def two_replicas(lab: Lab, **more: Any) -> Iterator[None]:
    """Have two operators, one of which leads; afterwards one again. `more` are further values of the chart."""
    operator, values = lab.operator, install.values(lab.images)
    operator.keep_evidence()
    install.upgrade(lab.terminal, values | {"replicas": 2} | more)
    operator.wait_ready()
    try:
        yield
    finally:
        operator.keep_evidence()
        install.install_operator(lab.terminal, operator, values)


def holder(lease: Json | None) -> str:
    """Return the pod that has the Lease; nothing while nobody has."""
    return str((lease or {}).get("spec", {}).get("holderIdentity", "")).partition("_")[0]


def leader(api: Api) -> Json:
    """Wait until an operator that is there leads, and return its pod."""

    def pod(lease: Json | None) -> Json | None:
        return api.get(PODS, NAMESPACE, holder(lease)) if holder(lease) else None

    found = pod(wait_for(api, LEASES, NAMESPACE, RELEASE, lambda one: pod(one) is not None, "a leader"))
    assert found is not None, "the leader has just gone"
    return found


def started_during(lab: Lab, change: Callable[[], object]) -> list[str]:
    """Start a session every few seconds while something changes, three at least; return their names."""
    names: list[str] = []
    with ThreadPoolExecutor(1) as hands:
        changing = hands.submit(change)
        while not changing.done() or len(names) < 3:
            names.append(f"during-{len(names)}")
            lab.start(names[-1])
            time.sleep(_PAUSE_SECONDS)
        changing.result()
    return names


def check_turns(entries: list[Json], first: str) -> None:
    """Fail unless operators wrote one after another, beginning with `first`: none again once another one had."""
    turns = _turns(entries)
    print(f"{len(entries)} writes, by {' then '.join(turns)}")
    assert turns[:1] == [first]
    assert len(turns) == len(set(turns)), [(writer(one), describe(one)) for one in entries]


def writer(entry: Json) -> str:
    """Return the pod whose token a write was made with."""
    (name,) = entry["user"]["extra"][_POD]
    return str(name)


def _turns(entries: list[Json]) -> list[str]:
    """Return the pods that wrote, one after another; one that wrote again after another one is there twice."""
    writers = [writer(entry) for entry in sorted(entries, key=lambda one: one["requestReceivedTimestamp"])]
    return [*writers[:1], *(after for before, after in pairwise(writers) if after != before)]
