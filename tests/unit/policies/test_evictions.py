"""Pods that are gone, as events tell of their end."""

from datetime import datetime, timedelta

import pytest

from agentsessions.api.base import Json
from agentsessions.api.status import Host
from agentsessions.policies.evictions import as_told
from agentsessions.policies.outcome import judge_host
from unit import kubelet
from unit.make import NOW, UID, make_pod, stamp

POD = make_pod().body
HOST = Host(pod=POD["metadata"]["name"], pod_uid=POD["metadata"]["uid"], node="n1")


def posted(reason: str, message: str, at: datetime = NOW) -> Json:
    """Return an event about the session's pod."""
    return kubelet.event(POD, reason, message, at)


def test_it_is_the_pod_of_the_session_that_the_last_of_them_ended() -> None:
    later = NOW + timedelta(seconds=5)
    found = as_told(HOST, [posted("Preempting", "for another", later), posted("Preempted", "for another")])
    assert found is not None
    assert (found.name, found.uid, found.node, found.created) == (HOST.pod, HOST.pod_uid, "n1", later)
    assert found.is_terminal
    verdict = judge_host(found, UID)
    assert (verdict.reason, verdict.counts, verdict.message) == ("Evicted", False, "Preempting: for another")


@pytest.mark.parametrize("later", ["TaintManagerEviction", "Preempted"])
def test_what_its_kubelet_has_evicted_is_only_deleted_after(later: str) -> None:
    """A session that used too much disk gets no more attempts than it may by a taint that comes after."""
    after = posted(later, kubelet.MARKED, NOW + timedelta(minutes=5))
    found = as_told(HOST, [posted("Evicted", kubelet.EVICTED_DISK), after])
    assert found is not None
    verdict = judge_host(found, UID)
    assert (verdict.reason, verdict.counts) == ("EphemeralStorageExceeded", True)


@pytest.mark.parametrize(("by", "told"), [("TaintManagerEviction", "NodeLost"), ("Preempted", "Evicted")])
def test_a_taint_ends_pods_of_a_node_that_is_not_heard_of(by: str, told: str) -> None:
    found = as_told(HOST, [posted("NodeNotReady", "Node is not ready"), posted(by, kubelet.MARKED)])
    assert found is not None
    assert judge_host(found, UID).reason == told


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(posted("Killing", "Stopping container agent"), id="what-ends-it-is-not-said"),
        pytest.param(posted("TaintManagerEviction", "Cancelling deletion of Pod default/hello"), id="taken-back"),
        pytest.param(posted("Evicted", "") | {"involvedObject": {"uid": "another"}}, id="another-pod-of-the-name"),
    ],
)
def test_other_events_end_nothing(event: Json) -> None:
    assert as_told(HOST, [event]) is None


def test_events_that_have_no_last_time_are_of_when_they_were_made() -> None:
    """Those of events.k8s.io that happened once have an `eventTime` alone, in microseconds."""
    event = posted("Preempted", "for another")
    del event["lastTimestamp"]
    for known in ({"eventTime": "2026-01-02T03:04:05.678901Z"}, {}):
        event["metadata"]["creationTimestamp"] = stamp(NOW)
        found = as_told(HOST, [event | known])
        assert found is not None
        assert found.created == (datetime.fromisoformat(known["eventTime"]) if known else NOW)
