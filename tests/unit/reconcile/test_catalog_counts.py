"""What the metrics say of sessions by what watches tell: whose transcripts are not stored, and who wakes for long."""

from datetime import timedelta

import pytest

from agentsessions import metrics
from agentsessions.api.base import Json
from agentsessions.api.conditions import Reason, State, conditions_for
from agentsessions.reconcile.catalog import Catalog
from unit.hybrid import NAME, make_nap
from unit.lasting import make_talk
from unit.make import NOW, later, stamp

NAMESPACE = "counting-test"
KEY = (NAMESPACE, NAME)


def value(name: str, **labels: str) -> float:
    """Return the present value of a sample."""
    return metrics.REGISTRY.get_sample_value(f"agentsessions_{name}", labels) or 0.0


def body_with(state: State, reason: str, durable: str = "", since: int = 0, pattern: str = "Hybrid") -> Json:
    """Return a session whose Ready says so since a moment, and whose transcript is not stored for a reason."""
    row = conditions_for(state, reason, "", previous=[], generation=1, now=later(since), ends=False)
    body = (make_nap() if pattern == "Hybrid" else make_talk()).with_status(conditions=row).json()
    if durable:
        condition = {"type": "TranscriptDurable", "status": "False", "reason": durable, "message": ""}
        body["status"]["conditions"].append(condition | {"lastTransitionTime": stamp(NOW)})
    return body


def undurable(reason: str) -> float:
    """Return how many sessions are counted whose transcript is not stored."""
    return value("transcripts_not_durable", namespace=NAMESPACE, reason=reason)


def test_transcripts_that_are_not_stored_are_counted_by_reason_while_they_are_not() -> None:
    catalog = Catalog()
    catalog.put(KEY, body_with(State.RUNNING, Reason.RUNNING, "StoreUnreachable"))
    catalog.put((NAMESPACE, "other"), body_with(State.RUNNING, Reason.RUNNING, "StoreUnreachable"))
    assert undurable("StoreUnreachable") == 2
    catalog.put(KEY, body_with(State.RUNNING, Reason.RUNNING, "StoreRefused"))
    assert (undurable("StoreUnreachable"), undurable("StoreRefused")) == (1, 1)
    catalog.put(KEY, body_with(State.RUNNING, Reason.RUNNING))
    catalog.drop((NAMESPACE, "other"))
    assert (undurable("StoreUnreachable"), undurable("StoreRefused")) == (0, 0)


def test_the_oldest_wake_is_that_of_the_session_that_waits_for_longest() -> None:
    catalog = Catalog()
    assert value("oldest_wake_timestamp_seconds") == 0
    catalog.put(KEY, body_with(State.PROGRESSING, Reason.WAKING, since=20))
    catalog.put((NAMESPACE, "older"), body_with(State.PROGRESSING, Reason.HOST_NOT_READY, since=10))
    assert value("oldest_wake_timestamp_seconds") == (NOW + timedelta(seconds=10)).timestamp()
    catalog.put((NAMESPACE, "older"), body_with(State.RUNNING, Reason.RUNNING, since=30))
    assert value("oldest_wake_timestamp_seconds") == later(20).timestamp()
    catalog.drop(KEY)
    assert value("oldest_wake_timestamp_seconds") == 0


def test_what_is_being_deleted_does_not_wake() -> None:
    catalog, body = Catalog(), body_with(State.PROGRESSING, Reason.WAKING)
    body["metadata"]["deletionTimestamp"] = stamp(NOW)
    catalog.put(KEY, body)
    assert value("oldest_wake_timestamp_seconds") == 0
    catalog.drop(KEY)


@pytest.mark.parametrize(
    ("state", "reason", "pattern"),
    [
        (State.ASLEEP, Reason.ASLEEP, "Hybrid"),
        (State.BLOCKED, Reason.IMAGE_PULL_FAILED, "Hybrid"),
        (State.PROGRESSING, Reason.QUEUED, "Hybrid"),
        (State.PROGRESSING, Reason.STARTING, "LongRunning"),
    ],
)
def test_what_sleeps_or_waits_for_a_person_or_never_sleeps_does_not_wake(
    state: State, reason: Reason, pattern: str
) -> None:
    catalog = Catalog()
    catalog.put(KEY, body_with(state, reason, pattern=pattern))
    assert value("oldest_wake_timestamp_seconds") == 0
    catalog.drop(KEY)
