"""Leadership: one at a time, whatever the API server does; let go of at the end, fenced when lost."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions import metrics
from agentsessions.api.base import Json
from agentsessions.api.config import LeaderElection
from agentsessions.handlers import main
from agentsessions.kube.client import Kube
from agentsessions.kube.errors import AlreadyExists, Conflict, Transient
from agentsessions.kube.lease import Leadership, LeadershipLost
from agentsessions.kube.paths import LEASES, PODS
from agentsessions.policies.leadership import Sight, claim, seen

SETTINGS = LeaderElection(enabled=True, lease_seconds=3, renew_seconds=2, retry_seconds=0.1)


@dataclass
class Leases:
    """An API server that keeps one Lease; `away` makes it silent."""

    lease: Json | None = None
    version: int = 0
    away: bool = False
    stored: list[str] = field(default_factory=list)

    async def get(self, *_: Any) -> Json | None:
        """Return it."""
        self._answer()
        return self.lease

    async def create(self, kind: Any, manifest: Json) -> Json:
        """Make it, once."""
        self._answer()
        if self.lease is not None:
            raise AlreadyExists(409, "it exists", "AlreadyExists")
        return self._store(manifest["spec"])

    async def merge(self, kind: Any, namespace: str, name: str, patch: Json, *, manager: str) -> Json:
        """Write it, if nobody has written since."""
        self._answer()
        if patch["metadata"]["resourceVersion"] != str(self.version):
            raise Conflict(409, "changed", "Conflict")
        return self._store(((self.lease or {})["spec"]) | patch["spec"])

    def _answer(self) -> None:
        if self.away:
            raise Transient(0, "no answer")

    def _store(self, spec: Json) -> Json:
        self.version += 1
        self.lease = {"metadata": {"resourceVersion": str(self.version)}, "spec": spec}
        self.stored.append(spec["holderIdentity"])
        return self.lease


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that stands still until it is moved."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def replica(api: Leases, name: str) -> Leadership:
    """Return a replica."""
    return Leadership(api, SETTINGS, name)  # type: ignore[arg-type]


@pytest.mark.requirement("K01", "K02")
async def test_the_first_makes_the_lease_and_leads(clock: list[float]) -> None:
    api = Leases()
    first, second = replica(api, "a"), replica(api, "b")
    assert await first.acquire(asyncio.Event())
    assert first.is_held()
    assert not await second._try()
    assert not second.is_held()
    assert api.lease is not None
    assert (api.lease["spec"]["leaseTransitions"], api.lease["spec"]["leaseDurationSeconds"]) == (0, 3)


@pytest.mark.requirement("K02")
async def test_a_silent_leader_is_followed_and_has_stopped_before_that(clock: list[float]) -> None:
    api = Leases()
    first, second = replica(api, "a"), replica(api, "b")
    await first._try()
    await second._try()
    clock[0] += 2.1
    assert not first.is_held(), "it must not write any more"
    assert not await second._try(), "but nobody else may yet"
    clock[0] += 1
    assert await second._try()
    assert not await first._try()
    assert api.stored == ["a", "b"]
    assert api.lease is not None
    assert api.lease["spec"]["leaseTransitions"] == 1


@pytest.mark.requirement("K02")
async def test_a_leader_that_renews_is_left_alone(clock: list[float]) -> None:
    api = Leases()
    first, second = replica(api, "a"), replica(api, "b")
    await first._try()
    for _ in range(20):
        clock[0] += 1
        assert await first._try()
        assert not await second._try()
    assert set(api.stored) == {"a"}


@pytest.mark.requirement("K02")
async def test_what_is_released_is_taken_at_once(clock: list[float]) -> None:
    api = Leases()
    first, second = replica(api, "a"), replica(api, "b")
    await first._try()
    await second._try()
    await first.release()
    assert not first.is_held()
    assert await second._try()


@pytest.mark.requirement("K02")
async def test_an_answer_that_came_late_makes_nobody_lead_beside_another(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Lease is renewed while the other's look at it is under way for longer than the leader's margin."""
    api = Leases()
    first, second = replica(api, "a"), replica(api, "b")
    await first._try()
    look = api.get

    async def slow(*arguments: Any) -> Json | None:
        clock[0] += 1.5
        await first._try()
        monkeypatch.setattr(api, "get", look)
        return await look(*arguments)

    monkeypatch.setattr(api, "get", slow)
    assert not await second._try()
    for _ in range(40):
        clock[0] += 0.1
        await second._try()
        assert not (first.is_held() and second.is_held())
    assert second.is_held()


@pytest.mark.requirement("K02")
async def test_a_lease_that_somebody_deletes_is_not_free_while_its_holder_may_lead(clock: list[float]) -> None:
    api = Leases()
    first, second = replica(api, "a"), replica(api, "b")
    await first._try()
    await second._try()
    api.lease = None
    clock[0] += 1.9
    assert first.is_held()
    assert not await second._try()
    clock[0] += 3.1
    assert await second._try()


@pytest.mark.requirement("K02")
async def test_a_pods_next_life_does_not_wait_for_its_former_one(clock: list[float]) -> None:
    api = Leases()
    await replica(api, "pod-a_one")._try()
    assert not await replica(api, "pod-ab_one")._try()
    assert not await replica(api, "pod-b_one")._try()
    assert await replica(api, "pod-a_two")._try()
    assert api.lease is not None
    assert api.lease["spec"]["leaseTransitions"] == 1


@pytest.mark.parametrize("pod", ["pod-a", ""])
def test_every_process_is_another_candidate_and_of_the_same_pod_only_in_one(
    pod: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POD_NAME", pod)
    one, two = main._identity(), main._identity()
    assert one != two
    held = Sight(holder=one, version="1", lasts=7, at=100)
    assert held.is_free_for(two, 101) == bool(pod)


async def test_a_lease_that_is_lost_is_not_released(clock: list[float]) -> None:
    api = Leases()
    first = replica(api, "a")
    await first._try()
    clock[0] += 10
    await first.release()
    assert api.stored == ["a"]


@pytest.mark.requirement("K02")
async def test_an_api_server_that_is_away_costs_the_lead_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Leases()
    quick = LeaderElection(lease_seconds=3, renew_seconds=1, retry_seconds=0.1)
    first = Leadership(api, quick, "a")  # type: ignore[arg-type]
    assert await first.acquire(asyncio.Event())
    assert metrics.REGISTRY.get_sample_value("agentsessions_leader") == 1
    api.away = True
    with pytest.raises(LeadershipLost):
        await asyncio.wait_for(first.hold(), 30)
    assert not first.is_held()
    assert metrics.REGISTRY.get_sample_value("agentsessions_leader") == 0


async def test_whoever_writes_into_the_lease_costs_nobody_the_lead(clock: list[float]) -> None:
    api = Leases()
    first = replica(api, "a")
    await first._try()
    assert api.lease is not None
    api._store(api.lease["spec"])  # somebody has put a label on it
    assert not await first._try()
    assert first.is_held()
    assert await first._try()


async def test_who_is_told_to_stop_waits_no_longer(clock: list[float]) -> None:
    api, stop = Leases(), asyncio.Event()
    await replica(api, "a")._try()
    stop.set()
    assert not await replica(api, "b").acquire(stop)


@pytest.mark.requirement("K02")
async def test_nothing_is_written_without_the_lead() -> None:
    kube = Kube(api=None)  # type: ignore[arg-type]
    kube.may_write = lambda: False
    with pytest.raises(Transient, match="another replica"):
        await kube.delete(PODS, "team", "pod")


@pytest.mark.parametrize(("renew", "retry"), [(7, 1), (5, 5)])
def test_settings_by_which_two_could_lead_are_refused(renew: float, retry: float) -> None:
    with pytest.raises(ValueError, match="leaseSeconds"):
        LeaderElection(lease_seconds=7, renew_seconds=renew, retry_seconds=retry)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 5)), max_size=40))
def test_two_never_lead_at_a_time(turns: list[tuple[str, float]]) -> None:
    """By one clock that all share, in whatever order replicas get to act and however long they are held up."""
    sights = {"a": Sight(), "b": Sight()}
    until = {"a": 0.0, "b": 0.0}
    lease, now = None, 0.0
    for who, pause in turns:
        now += pause
        sights[who] = sights[who] if lease is None else seen(lease, sights[who], now)
        if not sights[who].is_free_for(who, now):
            continue
        version = int(lease["metadata"]["resourceVersion"]) if lease else 0
        spec = claim(sights[who], who, SETTINGS, "t")
        lease = {"metadata": {"resourceVersion": str(version + 1)}, "spec": (lease["spec"] if lease else {}) | spec}
        sights[who] = seen(lease, sights[who], now)
        until[who] = now + SETTINGS.renew_seconds
        assert sum(end > now for end in until.values()) == 1


def test_leases_have_a_path() -> None:
    assert LEASES.path("ns", "x") == "/apis/coordination.k8s.io/v1/namespaces/ns/leases/x"
