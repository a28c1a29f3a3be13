"""Hybrid sessions in pods of their own, from sleep to sleep."""

from datetime import timedelta

import pytest

from agentsessions.api.base import Json
from agentsessions.api.host import Beginning
from agentsessions.api.status import Archive, Transcript, Usage
from agentsessions.kube.paths import SESSIONS
from unit.hybrid import KEY, NAME, TIMEOUT, UID, awake, make_nap, own_pod, start
from unit.make import NAMESPACE, stamp


@pytest.mark.requirement("H03")
def test_a_new_session_sleeps_without_a_pod_and_costs_one_write() -> None:
    on = start()
    assert on.settle() == 1
    assert on.says() == ("True", "Asleep")
    assert on.says("Active") == ("False", "Asleep")
    assert on.session().status.host is None
    assert on.session().status.endpoint == f"/v1/namespaces/{NAMESPACE}/sessions/{NAME}"
    assert on.requeue is None, "nothing to come back for"
    on.idle(86_400)
    assert on.settle() == 0
    assert on.pods() == []


@pytest.mark.requirement("H03", "H04")
def test_a_message_wakes_it_and_it_sleeps_again_when_it_has_been_idle() -> None:
    on = start()
    on.settle()
    on.ask()
    on.settle()
    assert on.says("Reconciling") == ("True", "Waking")
    assert on.pods() == [own_pod(1)]
    on.start_pods()
    on.settle()
    assert on.says() == ("True", "Running")
    status = on.session().status
    assert (status.wakes, status.restarts) == (1, 0)
    assert status.last_request_time == status.answered_request_time
    assert status.start_time is not None
    assert len(on.hosts.given) == 1
    on.hear()
    on.settle()
    assert on.requeue == timedelta(seconds=TIMEOUT)
    on.idle(TIMEOUT)
    on.look()
    assert on.hosts.asked == [False]
    on.tell(transcript=Transcript(entries=4), usage=Usage(turns=1), archive=Archive(generation=1))
    on.stores()
    on.settle()
    assert on.says() == ("True", "Asleep")
    status = on.session().status
    assert (status.host, status.wakes) == (None, 1)
    assert status.suspend_time == on.world.now
    assert status.transcript == Transcript(entries=4)
    assert status.usage == Usage(turns=1)
    assert status.archive == Archive(generation=1)
    assert on.pods() == []
    on.end_pods()
    on.settle()
    assert list(on.world.pods()) == []
    assert on.events() == []


@pytest.mark.requirement("H04")
def test_each_wake_has_a_pod_of_another_name_and_is_told_of_the_conversation() -> None:
    on = awake()
    for number in range(2, 5):
        on.idle(TIMEOUT)
        on.look()
        on.tell(transcript=Transcript(entries=number, last_entry_digest=f"sha256:{number}"), usage=Usage(turns=number))
        on.stores()
        on.settle()
        on.end_pods()
        on.hosts.beginning = Beginning.RESUMED
        on.wake()
        assert on.pods() == [own_pod(number)]
        told = on.hosts.given[-1]
        assert told.transcript == Transcript(entries=number, last_entry_digest=f"sha256:{number}")
        assert told.usage == Usage(turns=number)
        assert on.says("Resumed") == ("True", "TranscriptFound")
    assert on.session().status.wakes == 4


@pytest.mark.parametrize("news", [{"idle_since": None}, {"idle_since": None, "streams": 1}])
def test_what_is_not_idle_is_left_awake_and_its_host_says_when_that_ends(news: Json) -> None:
    on = awake()
    on.tell(**news)
    on.idle(100 * TIMEOUT)
    on.settle()
    assert on.hosts.asked == []
    assert on.says() == ("True", "Running")
    assert on.requeue is None or on.requeue >= timedelta(seconds=15)


def test_a_host_that_found_it_busy_after_all_is_asked_again_later() -> None:
    on = awake()
    on.idle(TIMEOUT)
    for held in on.hosts.held.values():
        held[UID] = held[UID].model_copy(update={"idle_since": None})  # the operator has not heard of it
    assert on.look() == 0
    assert on.hosts.asked == [False]
    assert on.requeue == timedelta(seconds=15)
    assert on.says() == ("True", "Running")


def test_a_host_that_is_not_heard_is_not_judged() -> None:
    on = awake()
    on.hosts.views.clear()
    on.idle(10 * TIMEOUT)
    assert on.settle() == 0
    assert on.hosts.asked == []


@pytest.mark.parametrize(
    ("spec", "seconds"), [({}, TIMEOUT), ({"idleTimeoutSeconds": 7}, 7), ({"idleTimeoutSeconds": None}, 900)]
)
def test_how_long_it_may_be_idle(spec: Json, seconds: int) -> None:
    on = awake(make_nap(**spec))
    on.look()
    assert on.requeue == timedelta(seconds=seconds)


def test_what_only_the_operator_goes_by_changes_without_a_handover() -> None:
    on = awake()
    on.world.edit(SESSIONS, NAME, priority=3, idleTimeoutSeconds=7, limits={"startDeadlineSeconds": 600})
    on.settle()
    assert len(on.hosts.given) == 1
    assert on.requeue == timedelta(seconds=7)
    resolved = on.session().status.resolved
    assert resolved is not None
    assert resolved.start_deadline_seconds == 600


def test_what_the_agent_runs_with_is_handed_over_anew() -> None:
    on = awake()
    on.world.edit(SESSIONS, NAME, agent={"model": "opus"})
    on.settle()
    assert len(on.hosts.given) == 2


@pytest.mark.requirement("H03")
@pytest.mark.parametrize(("reason", "text"), [("StoreBehind", "not whole"), ("ArchiveFailed", "too large")])
def test_what_cannot_be_stored_stays_awake_and_says_so(reason: str, text: str) -> None:
    on = awake()
    on.idle(TIMEOUT)
    on.look()
    fault = {"reason": reason, "message": text, "time": on.world.now}
    on.tell(fault=fault)
    on.settle()
    assert on.says() == ("True", "Running")
    assert text in on.message()
    assert on.events() == [reason]
    assert on.requeue == timedelta(seconds=60)
    on.hosts.asked.clear()
    on.idle(60)
    on.look()
    assert on.hosts.asked == [False]
    on.stores()
    on.settle()
    assert on.says() == ("True", "Asleep")


def test_what_could_not_be_stored_is_tried_again_after_one_pause() -> None:
    """A pass goes by whole seconds, and the host's word does not: at the sixtieth it may be a moment too early."""
    on = awake()
    on.idle(TIMEOUT)
    on.look()
    said = on.world.now + timedelta(seconds=0.4)
    on.tell(fault={"reason": "StoreBehind", "message": "not whole", "time": said})
    on.settle()
    on.hosts.asked.clear()
    while not on.hosts.asked:
        assert on.requeue is not None
        on.idle(on.requeue.total_seconds())
        on.look()
    assert on.world.now - said < timedelta(seconds=62)


@pytest.mark.requirement("H03")
def test_suspended_by_hand_it_ends_its_turn_first_and_takes_no_request_until_that_is_undone() -> None:
    on = awake()
    on.tell(idle_since=None)
    on.world.edit(SESSIONS, NAME, suspended=True)
    on.look()
    assert on.hosts.asked == [True], "patiently"
    on.stores()
    on.settle()
    assert on.says() == ("True", "Suspended")
    assert on.pods() == []
    on.idle(1)
    on.ask()
    on.settle()
    assert on.says() == ("True", "Suspended")
    on.world.edit(SESSIONS, NAME, suspended=False)
    on.settle()
    assert on.says("Reconciling") == ("True", "Waking"), "the request that came meanwhile is not forgotten"


def test_suspended_while_it_sleeps_it_says_so_and_sleeps_on_when_that_is_undone() -> None:
    on = start()
    on.settle()
    on.world.edit(SESSIONS, NAME, suspended=True)
    assert on.settle() == 1
    assert on.says() == ("True", "Suspended")
    on.world.edit(SESSIONS, NAME, suspended=False)
    assert on.settle() == 1
    assert on.says() == ("True", "Asleep")
    assert on.pods() == []


def test_a_request_while_it_is_put_away_wakes_it_at_once_or_was_answered() -> None:
    on = awake()
    on.idle(TIMEOUT)
    on.look()
    on.ask()  # a gateway that saw it asleep, long ago
    on.stores()
    on.settle()
    assert on.says() == ("True", "Asleep"), "the request found it awake"
    status = on.session().status
    assert status.last_request_time == status.answered_request_time
    on.idle(1)
    on.ask()
    on.settle()
    assert on.says("Reconciling") == ("True", "Waking")


@pytest.mark.requirement("H04")
def test_twenty_requests_are_one_wake() -> None:
    on = start()
    on.settle()
    for _ in range(20):
        on.idle(0.001)
        on.ask()
    on.settle()
    on.start_pods()
    on.settle()
    assert on.session().status.wakes == 1
    assert on.pods() == [own_pod(1)]


def test_changed_settings_are_told_to_the_host() -> None:
    on = awake()
    on.world.edit(SESSIONS, NAME, agent={"model": "other"})
    on.settle()
    assert [told.settings.agent.model for told in on.hosts.given] == [None, "other"]
    assert on.session().status.restarts == 0


def test_a_session_that_is_being_deleted_is_left_alone() -> None:
    on = start(make_nap().with_meta(deletion_timestamp=stamp(start().world.now)))
    assert on.settle() == 0


@pytest.mark.requirement("H04")
def test_the_gateways_field_is_its_own() -> None:
    """The made-up API server refuses a write of it; what the gateway wrote meanwhile makes a conflict."""
    on = start()
    on.settle()
    on.ask()
    asked = on.world.objects[SESSIONS, *KEY]["status"]["lastRequestTime"]
    on.settle()
    on.start_pods()
    on.settle()
    assert on.world.objects[SESSIONS, *KEY]["status"]["lastRequestTime"] == asked
