"""Sessions of a CRD that this operator cannot read: left alone, but for a deletion that would wait for ever."""

from datetime import timedelta

import pytest

from agentsessions.api.base import Json
from agentsessions.api.names import FINALIZER
from agentsessions.kube.paths import SESSIONS
from agentsessions.reconcile.unreadable import PATIENCE
from unit.make import make_session, stamp
from unit.operator_at_work import Operator
from unit.world import World


def world_of(finalizers: list[str], waited: timedelta | None) -> Operator:
    """Return an operator with a session from the future, which has been deleted for that long."""
    world, body = World(), make_session().json()
    body["spec"]["pattern"] = "Eternal"
    body["metadata"]["finalizers"] = finalizers
    if waited is not None:
        body["metadata"]["deletionTimestamp"] = stamp(world.now - waited)
    world.add(SESSIONS, body)
    return Operator(world)


def meta(operator: Operator) -> Json:
    (body,) = operator.world.of(SESSIONS)
    found: Json = body["metadata"]
    return found


@pytest.mark.requirement("K01", "K02")
@pytest.mark.parametrize(
    ("finalizers", "waited", "again"),
    [
        pytest.param([], timedelta(hours=1), None, id="none-of-ours"),
        pytest.param([FINALIZER], None, None, id="not-deleted"),
        pytest.param([FINALIZER], PATIENCE - timedelta(seconds=7), timedelta(seconds=7), id="not-yet"),
    ],
)
def test_it_is_left_alone(finalizers: list[str], waited: timedelta | None, again: timedelta | None) -> None:
    operator = world_of(finalizers, waited)
    assert operator.look() == 0
    assert operator.requeue == again
    assert meta(operator)["finalizers"] == finalizers


@pytest.mark.requirement("K01", "K02")
def test_one_that_is_deleted_is_let_go_after_a_while_and_keeps_what_others_hold(
    caplog: pytest.LogCaptureFixture,
) -> None:
    operator = world_of(["somebody.else/s", FINALIZER], PATIENCE)
    assert operator.look() == 1
    assert meta(operator)["finalizers"] == ["somebody.else/s"]
    assert "let go that cannot be read" in caplog.text
    assert operator.requeue is None
