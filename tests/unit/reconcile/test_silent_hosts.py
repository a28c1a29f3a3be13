"""A pool whose hosts the operator does not hear yet: what they hold is not known, and nothing is given up for that."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from agentsessions.api.config import Gateway
from agentsessions.kube.paths import BUDGETS, POOLS, SESSIONS, STATEFUL_SETS
from agentsessions.reconcile.pools.loop import PoolReconciler
from unit.hybrid import Stage, in_pool
from unit.make import CONFIG, NAMESPACE
from unit.operator_at_work import finish
from unit.pools import KEYS

WITH_GATEWAY = CONFIG.model_copy(update={"gateway": Gateway(enabled=True, public_keys=KEYS)})
STORED = (1, {"partition": 0}, 2)
HELD = (0, {"partition": 2}, 2)


@dataclass
class Pool:
    """The pool of a stage, as the operator that is there now looks at it."""

    on: Stage

    def __post_init__(self) -> None:
        clock = lambda: self.on.world.now  # noqa: E731
        self.work = PoolReconciler(self.on.world, WITH_GATEWAY, self.on.lasting, clock)  # type: ignore[arg-type]

    def look(self) -> tuple[object, object, object]:
        """Reconcile the pool; return how many hosts may be disrupted, which ones roll, and how many there are."""
        self.requeue = finish(self.work.reconcile((NAMESPACE, "chat")))
        (budget,), (made,) = self.on.world.of(BUDGETS), self.on.world.of(STATEFUL_SETS)
        spec = made["spec"]
        return budget["spec"]["maxUnavailable"], spec["updateStrategy"]["rollingUpdate"], spec["replicas"]


def stored() -> Stage:
    """Return a stage with a session on a host of a pool, and its conversation in the store."""
    on = in_pool()
    on.settle()
    on.wake()
    on.tell(durable=True)
    on.settle()
    return on


def unstored() -> Stage:
    """Return a stage whose session has its last words on the host alone."""
    on = stored()
    on.tell(durable=False, store_problem="StoreUnreachable")
    on.settle()
    return on


def restarted(on: Stage) -> Pool:
    """Return the pool of an operator that has just begun, and has heard nobody."""
    on.restart()
    return Pool(on)


@pytest.mark.requirement("H30", "H36")
def test_a_new_operator_gives_no_host_up_before_it_has_heard_what_is_on_it() -> None:
    on = unstored()
    assert Pool(on).look() == HELD
    pool = restarted(on)
    assert pool.look() == HELD
    on.hear()
    on.tell(durable=True)
    assert pool.look() == STORED


def test_a_new_template_rolls_no_host_that_has_not_been_heard() -> None:
    on = stored()
    assert Pool(on).look() == STORED
    pool, before = restarted(on), on.world.of(STATEFUL_SETS)[0]["spec"]["template"]
    on.world.edit(POOLS, "chat", maxQueuedMessages=3)
    pool.look()
    assert on.world.of(STATEFUL_SETS)[0]["spec"]["template"] == before
    assert pool.requeue is not None
    assert pool.requeue <= timedelta(seconds=2), "the host is heard in a moment"
    on.hear()
    pool.look()
    assert on.world.of(STATEFUL_SETS)[0]["spec"]["template"] != before


@pytest.mark.parametrize(("make", "then"), [(stored, STORED), (unstored, HELD)])
def test_of_a_host_that_stays_silent_the_statuses_of_its_sessions_count(make: object, then: object) -> None:
    on = make()  # type: ignore[operator]
    Pool(on).look()
    pool = restarted(on)
    on.look()  # the session's own pass, or its watch, tells what its status says
    pool.look()
    on.idle(121)
    on.world.edit(POOLS, "chat", maxQueuedMessages=3)
    before = on.world.of(STATEFUL_SETS)[0]["spec"]["template"]
    assert pool.look() == then
    assert on.world.of(STATEFUL_SETS)[0]["spec"]["template"] != before, "it can be mended by another template"


def test_what_a_watch_delivers_of_a_session_says_so_too() -> None:
    on = unstored()
    Pool(on).look()
    pool = restarted(on)
    (body,) = on.world.of(SESSIONS)
    on.lasting.occupancy.told(body)
    pool.look()
    on.idle(121)
    assert pool.look() == HELD
