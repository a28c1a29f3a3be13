"""Questions to a world, and what tests put into it."""

from datetime import timedelta

from agentsessions.api.base import Json
from unit.make import NAMESPACE, make_report
from unit.operator_at_work import Operator
from unit.world import World

DONE = make_report(result={"text": "4 files"})


def ready(world: World) -> tuple[str, str]:
    """Return status and reason of Ready."""
    found = world.session().status.condition("Ready")
    assert found is not None
    return found.status, found.reason


def message(world: World) -> str:
    """Return the message of Ready."""
    found = world.session().status.condition("Ready")
    assert found is not None
    return found.message


def pod_of(world: World) -> Json:
    """Return the only pod."""
    (pod,) = world.pods()
    return pod


def writes_in(world: World, operator: Operator, minutes: int) -> int:
    """Return how much is written while nothing happens but time."""
    before, end = len(world.writes()), world.now + timedelta(minutes=minutes)
    for _ in range(1000):
        operator.look()
        if operator.requeue is None or world.now + operator.requeue > end:
            return len(world.writes()) - before
        world.now += max(operator.requeue, timedelta(seconds=1))
    raise AssertionError("the operator spins")


def stranger(**labels: str) -> Json:
    """Return a pod of another's that has the name of the session's first pod."""
    meta = {"name": "hello-199a6b7b-0", "namespace": NAMESPACE, "labels": labels}
    return {"kind": "Pod", "metadata": meta, "spec": {}}
