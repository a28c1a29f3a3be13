"""Hybrid sessions in pods of their own, from sleep to sleep."""

from datetime import timedelta

import pytest

from agentsessions.api.base import Json
from agentsessions.api.host import Beginning
from agentsessions.api.names import pod_name
from agentsessions.api.status import Archive, Transcript, Usage
from agentsessions.hosts.errors import StorageTrouble, TranscriptMissing, Unreachable, error_for
from agentsessions.kube.paths import PODS, SESSIONS
from unit import kubelet
from unit.hybrid import KEY, NAME, TIMEOUT, UID, awake, make_nap, not_ready, serving, start
from unit.make import NAMESPACE, make_session, stamp


def own_pod(number: int) -> str:
    """Return the name of the pod of a wake."""
    return pod_name(NAME, UID, number)


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


@pytest.mark.requirement("H03")
@pytest.mark.parametrize(
    ("reason", "text"), [("StoreBehind", "not whole"), ("ArchiveFailed", "too large")]
)
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


def test_leftover_pods_are_deleted_once_and_never_anothers() -> None:
    on = start()
    on.settle()
    other = make_session(NAME).with_meta(uid="33333333-3333-4333-8333-333333333333").build()
    labels = {"agentsessions.dev/session-uid": UID, "agentsessions.dev/attempt": "7"}
    for name, owner in [(own_pod(7), UID), ("copy", UID), ("stranger", other.metadata.uid)]:
        reference = {"kind": "AgentSession", "name": NAME, "uid": owner, "controller": True}
        meta = {"name": name, "namespace": NAMESPACE, "labels": labels, "ownerReferences": [reference]}
        on.world.add(PODS, {"metadata": meta, "spec": {"nodeName": "n1"}})
    on.look()
    assert sorted(on.pods()) == ["copy", "stranger"]
    assert on.deletions() == 1
    on.look()
    assert on.deletions() == 1, "it goes by itself"
    assert on.says() == ("True", "Asleep")


def test_a_strangers_pod_of_the_name_is_said_and_never_touched() -> None:
    on = start()
    on.settle()
    on.world.add(PODS, {"metadata": {"name": own_pod(1), "namespace": NAMESPACE, "labels": {}}, "spec": {}})
    on.ask()
    assert on.trouble(3600) <= 1
    assert on.says("Stalled") == ("True", "PodConflict")
    assert on.deletions() == 0
    assert on.session().status.wakes == 0
    on.world.remove(PODS, NAMESPACE, own_pod(1))
    on.settle()
    assert on.says("Reconciling") == ("True", "Waking")


def test_a_pod_that_is_refused_is_tried_again_with_patience() -> None:
    on = start()
    on.settle()
    on.world.refusals["POST pods"] = "exceeded quota"
    on.ask()
    assert on.trouble(3600) <= 1
    assert on.says("Stalled") == ("True", "PodRejected")
    on.world.refusals.clear()
    on.settle()
    assert on.says("Reconciling") == ("True", "Waking")


@pytest.mark.requirement("H31")
def test_a_lost_pod_is_followed_by_another_and_what_it_cut_is_told() -> None:
    on = awake()
    on.lose(own_pod(1))
    on.settle()
    assert on.pods() == [own_pod(2)]
    on.hosts.beginning, on.hosts.interrupted = Beginning.RESUMED, True
    on.start_pods()
    on.settle()
    assert on.says() == ("True", "Running")
    assert on.says("Resumed") == ("True", "TranscriptFound")
    assert "interrupted" in on.message("Resumed")
    assert on.events() == ["HostLost", "TurnInterrupted"]


def test_a_pod_that_is_lost_again_and_again_is_followed_with_growing_pauses() -> None:
    on, waits = awake(), []
    for _ in range(12):
        on.start_pods()
        on.settle()
        assert on.says() == ("True", "Running")
        on.idle(3600)
        (name,) = on.pods()
        on.lose(name)
        began = on.world.now
        on.settle()
        while not on.pods():
            assert on.requeue is not None
            assert on.says("Reconciling") == ("True", "HostLost")
            assert on.settle() == 0, "to wait is no write"
            on.world.now += on.requeue
            on.settle()
        waits.append((on.world.now - began).total_seconds())
    assert waits == sorted(waits)
    assert waits[0] == 0
    assert waits[-1] == 300


def test_a_terminal_pod_is_deleted_and_followed_by_another() -> None:
    on = awake()
    on.world.set_pod(next(iter(on.world.pods())), kubelet.evicted())
    on.settle()
    assert on.pods() == [own_pod(2)]
    assert on.deletions() == 1


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (kubelet.pending(), "Reconciling", "Waking"),
        (kubelet.creating(), "Reconciling", "Waking"),
        (not_ready(), "Reconciling", "Waking"),
        (kubelet.unschedulable(), "Reconciling", "Unschedulable"),
        (kubelet.creating("ImagePullBackOff"), "Stalled", "ImagePullFailed"),
        (kubelet.creating("CreateContainerError", "no such file"), "Stalled", "StartFailed"),
    ],
)
def test_what_a_starting_pod_waits_for_is_said(status: Json, kind: str, reason: str) -> None:
    on = start()
    on.settle()
    on.ask()
    on.settle()
    on.world.set_pod(next(iter(on.world.pods())), status)
    assert on.settle() <= 3
    assert on.says(kind) == ("True", reason)
    assert on.events() == ([reason] if kind == "Stalled" else [])
    on.idle(3600)
    assert on.settle() == 0, "to wait is no write"
    on.world.set_pod(next(iter(on.world.pods())), serving())
    on.settle()
    assert on.says() == ("True", "Running")


@pytest.mark.requirement("H30")
@pytest.mark.parametrize(
    ("slug", "status", "kind", "reason"),
    [
        ("store-unreachable", 503, "Reconciling", "StoreUnreachable"),
        ("store-refused", 503, "Stalled", "StoreRefused"),
        ("archive-failed", 503, "Stalled", "ArchiveFailed"),
        ("fork-source-missing", 409, "Stalled", "ForkSourceNotFound"),
        ("transcript-missing", 409, "Stalled", "TranscriptMissing"),
        ("transcript-truncated", 409, "Stalled", "TranscriptTruncated"),
        ("transcript-diverged", 409, "Stalled", "TranscriptDiverged"),
    ],
)
def test_without_the_whole_conversation_it_does_not_go_on(slug: str, status: int, kind: str, reason: str) -> None:
    on = start()
    on.settle()
    error = error_for(status, {"type": f"x/{slug}"} | {"type": slug, "detail": "so it is"})
    assert isinstance(error, StorageTrouble | TranscriptMissing)
    on.hosts.refusal = error
    on.wake()
    assert on.says(kind) == ("True", reason)
    assert on.hosts.given == []
    if slug.startswith("transcript"):
        assert on.says("Resumed") == ("False", reason)
    assert on.requeue is not None
    assert timedelta(seconds=2) <= on.requeue <= timedelta(seconds=60)
    on.idle(3600)
    on.settle()
    assert on.settle() == 0, "to try again is no write"
    on.hosts.refusal = None
    on.settle()
    assert on.says() == ("True", "Running")


@pytest.mark.requirement("H30")
@pytest.mark.parametrize(
    ("beginning", "reason"),
    [
        (Beginning.LOST, "TranscriptMissing"),
        (Beginning.TRUNCATED, "TranscriptTruncated"),
        (Beginning.DIVERGED, "TranscriptDiverged"),
    ],
)
def test_what_goes_on_without_its_whole_conversation_says_so(beginning: Beginning, reason: str) -> None:
    on = start(make_nap(onMissingTranscript="StartFresh"))
    on.settle()
    on.hosts.beginning = beginning
    on.wake()
    assert on.says() == ("True", "Running")
    assert on.says("Resumed") == ("False", reason)
    assert on.events() == [reason]
    assert on.settle() == 0


@pytest.mark.requirement("H30")
def test_the_store_behind_is_a_condition_and_mends_itself() -> None:
    on = awake()
    assert on.says("TranscriptDurable") == ("True", "TranscriptStored")
    for problem in ("StoreUnreachable", "StoreRefused", "StoreBehind"):
        on.tell(durable=False, store_problem=problem)
        on.settle()
        assert on.says("TranscriptDurable") == ("False", problem)
        assert on.says() == ("True", "Running")
    on.tell(durable=False, store_problem="SomethingNewer")
    on.settle()
    assert on.says("TranscriptDurable") == ("False", "StoreBehind")
    on.tell(durable=True, store_problem=None)
    on.settle()
    assert on.says("TranscriptDurable") == ("True", "TranscriptStored")


def test_a_host_that_does_not_answer_is_tried_again() -> None:
    on = start()
    on.settle()
    on.hosts.refusal = Unreachable(0, "unreachable", "")
    on.wake()
    assert on.says("Reconciling") == ("True", "HostUnreachable")
    on.hosts.refusal = None
    on.settle()
    assert on.says() == ("True", "Running")


def test_a_container_that_was_restarted_in_place_is_given_the_session_again() -> None:
    on = awake()
    on.hosts.held.clear()
    on.hosts.beginning = Beginning.RESUMED
    on.hear()
    on.settle()
    assert on.says() == ("True", "Running")
    assert len(on.hosts.given) == 2
    assert on.session().status.restarts == 1
    assert on.pods() == [own_pod(1)]


def test_changed_settings_are_told_to_the_host() -> None:
    on = awake()
    on.world.edit(SESSIONS, NAME, agent={"model": "other"})
    on.settle()
    assert [told.settings.agent.model for told in on.hosts.given] == [None, "other"]
    assert on.session().status.restarts == 0


@pytest.mark.parametrize("store", [None, {"type": "Embedded"}])
def test_without_a_store_it_does_not_start(store: Json | None) -> None:
    maker = make_nap(sessionStore=store)
    on = start(maker)
    on.ask()
    on.settle()
    assert on.says("Stalled") == ("True", "StoreRequired")
    assert on.pods() == []
    on.idle(3600)
    assert on.settle() == 0


def test_a_store_of_the_template_will_do() -> None:
    maker = make_nap()
    del maker.body["spec"]["sessionStore"]
    on = start(maker)
    on.world.put_template(sessionStore={"type": "Redis", "secretRef": {"name": "redis"}})
    on.settle()
    assert on.says() == ("True", "Asleep")


@pytest.mark.requirement("H12")
@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (None, True),
        (make_session("source"), True),
        (make_nap(uid="44444444-4444-4444-8444-444444444444").with_meta(name="source"), False),
    ],
)
def test_a_fork_begins_with_another_session_of_its_namespace(source: object, problem: bool) -> None:
    on = start(make_nap(forkFrom={"name": "source"}))
    if source is not None:
        on.world.add(SESSIONS, source.json())  # type: ignore[attr-defined]
    on.settle()
    assert on.says() == ("True", "Asleep"), "nobody has asked for it yet"
    on.hosts.beginning = Beginning.FORKED
    on.wake()
    if problem:
        assert on.says("Stalled") == ("True", "ForkSourceNotFound")
        assert on.pods() == []
    else:
        assert str(on.hosts.given[0].fork_from) == "44444444-4444-4444-8444-444444444444"


def test_no_fork_of_itself() -> None:
    on = start(make_nap(forkFrom={"name": NAME}))
    on.ask()
    on.settle()
    assert on.says("Stalled") == ("True", "ForkSourceNotFound")


@pytest.mark.requirement("H12")
def test_a_fork_that_has_a_conversation_of_its_own_needs_its_source_no_more() -> None:
    source = make_nap(uid="44444444-4444-4444-8444-444444444444").with_meta(name="source")
    on = start(make_nap(forkFrom={"name": "source"}))
    on.world.add(SESSIONS, source.json())
    on.wake()
    on.tell(transcript=Transcript(entries=4))
    on.idle(TIMEOUT)
    on.look()
    on.stores()
    on.settle()
    on.end_pods()
    on.world.remove(SESSIONS, NAMESPACE, "source")
    on.wake()
    assert on.says() == ("True", "Running")
    assert on.hosts.given[-1].fork_from is None


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
