"""Capacity (H36) and autoscaling of pools: tables, and what must hold for all of them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.api.pool import AgentPoolSpec, PoolAutoscaling
from agentsessions.policies.autoscale import scale, wanted
from agentsessions.policies.capacity import HostSize, host_size
from agentsessions.policies.quantity import from_bytes, to_bytes
from unit.make import NOW, later

RULE = PoolAutoscaling(min_replicas=1, max_replicas=5, target_utilization_percent=80, scale_down_delay_seconds=300)


@pytest.mark.requirement("H36")
@pytest.mark.parametrize(
    ("fields", "size"),
    [
        pytest.param({}, HostSize(10, "3256Mi"), id="unset-is-ten"),
        pytest.param({"sessions_per_host": 4}, HostSize(4, "1456Mi"), id="memory-from-sessions"),
        pytest.param({"host_memory": "2Gi"}, HostSize(5, "2Gi"), id="sessions-from-memory-rounded-down"),
        pytest.param({"host_memory": "556Mi"}, HostSize(1, "556Mi"), id="exactly-one"),
        pytest.param({"host_memory": "9000Gi"}, HostSize(1000, "9000Gi"), id="no-more-than-a-thousand"),
    ],
)
def test_the_capacity_formula(fields: dict[str, object], size: HostSize) -> None:
    assert host_size(AgentPoolSpec.model_validate(fields)) == size


@pytest.mark.requirement("H36")
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        pytest.param({"host_memory": "555Mi"}, "`hostMemory`", id="one-Mi-short-of-a-session"),
        pytest.param({"per_session_memory": "0"}, "`perSessionMemory`", id="sessions-of-no-memory"),
        pytest.param({"overhead_memory": "0"}, "`overheadMemory`", id="no-overhead"),
    ],
)
def test_a_host_that_holds_no_session_is_refused_by_field(fields: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        host_size(AgentPoolSpec.model_validate(fields))


@pytest.mark.requirement("H36")
@given(st.integers(1, 1000), st.integers(1, 4096), st.integers(1, 4096))
def test_the_formula_is_its_own_inverse(count: int, each: int, overhead: int) -> None:
    shared = {"per_session_memory": f"{each}Mi", "overhead_memory": f"{overhead}Mi"}
    memory = host_size(AgentPoolSpec.model_validate(shared | {"sessions_per_host": count})).memory
    assert host_size(AgentPoolSpec.model_validate(shared | {"host_memory": memory})).sessions == count


@given(st.integers(0, 2**60))
def test_bytes_are_written_as_they_are_read(count: int) -> None:
    assert to_bytes(from_bytes(count)) == count


@given(st.integers(0, 10_000), st.integers(1, 50))
def test_the_wanted_hosts_suffice_within_the_bounds(sessions: int, per_host: int) -> None:
    hosts = wanted(RULE, sessions, per_host)
    assert 1 <= hosts <= 5
    if hosts < 5:
        assert sessions * 100 <= hosts * per_host * 80
    if hosts > 1:
        assert sessions * 100 > (hosts - 1) * per_host * 80


def test_more_hosts_come_at_once_and_waiting_sessions_count() -> None:
    result = scale(RULE, 1, {0: 8}, 1, 10, later(-1000), NOW)
    assert (result.replicas, result.fewer_since) == (2, None)


def test_fewer_hosts_come_only_after_the_delay() -> None:
    first = scale(RULE, 2, {0: 1, 1: 0}, 0, 10, None, NOW)
    assert (first.replicas, first.fewer_since, first.requeue) == (2, NOW, timedelta(seconds=300))
    assert scale(RULE, 2, {0: 1, 1: 0}, 0, 10, NOW, later(299)).replicas == 2
    assert scale(RULE, 2, {0: 1, 1: 0}, 0, 10, NOW, later(300)).replicas == 1


def test_a_host_that_holds_sessions_is_not_removed() -> None:
    result = scale(RULE, 2, {0: 0, 1: 1}, 0, 10, NOW, later(9000))
    assert (result.replicas, result.fewer_since) == (2, NOW)


@given(
    st.integers(1, 5),
    st.lists(st.integers(0, 10), min_size=5, max_size=5),
    st.integers(0, 60),
    st.none() | st.integers(-1000, 0).map(later),
)
def test_scaling_down_within_the_bounds_takes_one_empty_host(
    present: int, sessions: list[int], waiting: int, since: object
) -> None:
    loads = dict(enumerate(sessions[:present]))
    result = scale(RULE, present, loads, waiting, 10, since, NOW)  # type: ignore[arg-type]
    assert 1 <= result.replicas <= 5
    if result.replicas < present:
        assert result.replicas == present - 1
        assert loads[present - 1] == 0
