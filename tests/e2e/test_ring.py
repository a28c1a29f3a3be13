"""Two hundred real ids are placed as the placement function says, with hosts that stay, come and go."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import count

import pytest

from agentsessions.policies.placement import rank
from e2e.api import PODS, SESSIONS, Json
from e2e.gateway import Gateway
from e2e.lab import Labs
from e2e.sizes import size
from e2e.stage import Stage, is_elsewhere, places
from e2e.terminal import CommandFailed

BATCH, PER_HOST = size(12, 40), 36
UNBOUNDED = "10"
"""A load factor at which the bound never bites, so that an id's place depends on nothing but the id and the hosts."""


@pytest.fixture(scope="module")
def stage(labs: Labs, gateway: Gateway) -> Iterator[Stage]:
    """A pool of three hosts."""
    with labs() as lab:
        found = Stage.built(lab, gateway)
        found.pool(replicas=3, sessionsPerHost=PER_HOST, perSessionMemory="128Mi", loadFactor=UNBOUNDED)
        yield found


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    """Numbers for names that nobody has had."""
    return count()


def batch(stage: Stage, numbers: Iterator[int]) -> dict[str, Json]:
    """Start a batch of sessions at once; return them by name when all are on their hosts."""
    names = [f"id-{next(numbers)}" for _ in range(BATCH)]
    for name in names:
        stage.session(name)
    return stage.running(*names)


def by_rank(stage: Stage, sessions: dict[str, Json]) -> dict[str, str]:
    """Return where the placement function would have these sessions, on the hosts that there are."""
    hosts = [pod["metadata"]["name"] for pod in stage.hosts()]
    return {name: rank(one["metadata"]["uid"], hosts)[0] for name, one in sessions.items()}


def scaled(stage: Stage, replicas: int) -> None:
    """Change the number of hosts and wait for it."""
    stage.lab.terminal.kubectl("scale", "agentpool/chat", "-n", stage.lab.namespace, f"--replicas={replicas}")
    stage.until_pool("chat", lambda pool: pool["status"]["replicas"] == replicas, "the new number of hosts")
    stage.until_pool("chat", lambda pool: pool["status"]["readyReplicas"] == replicas, "hosts that are ready")


def emptied(stage: Stage, sessions: dict[str, Json]) -> None:
    """Delete sessions and wait for their end, with which no host has them any more."""
    stage.lab.terminal.kubectl("delete", SESSIONS.plural, *sessions, "-n", stage.lab.namespace)


@pytest.mark.timeout(600)
@pytest.mark.requirement("K03", "H37")
@pytest.mark.parametrize("round_number", range(size(1, 3)))
def test_ids_are_where_the_function_says(stage: Stage, numbers: Iterator[int], round_number: int) -> None:
    sessions = batch(stage, numbers)
    assert places(sessions) == by_rank(stage, sessions)
    emptied(stage, sessions)


@pytest.mark.timeout(600)
@pytest.mark.requirement("K03", "H37")
def test_a_host_added_gets_its_share_of_the_next_and_none_of_the_old(stage: Stage, numbers: Iterator[int]) -> None:
    old = batch(stage, numbers)
    scaled(stage, 4)
    assert places(stage.running(*old)) == places(old)
    emptied(stage, old)
    new = batch(stage, numbers)
    assert places(new) == by_rank(stage, new)
    assert len(set(places(new).values())) >= 3
    stay = {name: host for name, host in places(new).items() if not host.endswith("-3")}
    scaled(stage, 3)
    for name in new.keys() - stay.keys():
        stage.lab.until(name, is_elsewhere(new[name]["status"]["host"]["podUID"]), "another pod")
    stage.until_pool("chat", lambda pool: pool["status"]["sessions"] == BATCH, "all sessions on the hosts that stay")
    after = places(stage.running(*new))
    assert {name: after[name] for name in stay} == stay
    assert after == by_rank(stage, new)
    emptied(stage, new)


@pytest.mark.timeout(600)
@pytest.mark.requirement("K03", "H37", "K02")
def test_a_host_that_restarts_keeps_its_sessions_and_one_that_is_lost_moves_only_its_own(
    stage: Stage, numbers: Iterator[int]
) -> None:
    lab, old = stage.lab, batch(stage, numbers)
    before = places(old)
    doomed = next(iter(before.values()))
    with suppress(CommandFailed):  # it may end with the container
        lab.execute(doomed, "pkill", "-9", "-f", "agentrunner serve")
    lab.wait_restarted(doomed)
    assert places(stage.running(*old)) == before, "a container that is started anew is the same host"
    lost = {name: one["status"]["host"]["podUID"] for name, one in old.items() if before[name] == doomed}
    lab.api.delete(PODS, lab.namespace, doomed, gracePeriodSeconds=0)
    for name, uid in lost.items():
        lab.until(name, is_elsewhere(uid), "another pod")
    after = places(stage.running(*old))
    assert {name: host for name, host in after.items() if name not in lost} == {
        name: host for name, host in before.items() if name not in lost
    }
    emptied(stage, old)
