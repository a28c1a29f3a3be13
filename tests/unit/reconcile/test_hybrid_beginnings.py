"""With what Hybrid sessions begin: a store, a whole conversation, or a copy of another's; never blank in silence."""

from datetime import timedelta

import pytest

from agentsessions.api.base import Json
from agentsessions.api.host import Beginning
from agentsessions.api.status import Transcript, Usage
from agentsessions.hosts.errors import StorageTrouble, TranscriptMissing, error_for
from agentsessions.kube.paths import SESSIONS
from unit.hybrid import NAME, TIMEOUT, Stage, awake, make_nap, own_pod, serving, start
from unit.make import NAMESPACE, make_session


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
    on.idle(TIMEOUT - 60)
    on.settle()
    assert on.settle() == 0, "to try again is no write"
    on.hosts.refusal = None
    on.settle()
    assert on.says() == ("True", "Running")


IN_VAIN = [("transcript-missing", 409, "TranscriptMissing"), ("store-refused", 503, "StoreRefused")]


def woken_in_vain(slug: str, status: int) -> Stage:
    """Return the stage of a session that waits for somebody to mend what it woke for."""
    on = start()
    on.settle()
    on.hosts.refusal = error_for(status, {"type": slug, "detail": "so it is"})
    on.wake()
    return on


@pytest.mark.requirement("H12", "H30")
@pytest.mark.parametrize(("slug", "status", "reason"), IN_VAIN)
def test_woken_in_vain_it_gives_its_pod_back_and_a_message_tries_again(slug: str, status: int, reason: str) -> None:
    on = woken_in_vain(slug, status)
    on.idle(TIMEOUT)
    on.settle()
    on.end_pods()
    assert on.settle() == 0
    assert list(on.world.pods()) == []
    assert on.says("Stalled") == ("True", reason)
    assert on.says() == ("False", reason)
    assert "next message tries again" in on.message()
    on.wake()
    assert on.says() == ("False", reason)
    assert on.pods() == [own_pod(2)], "it was tried, with time for somebody to mend it"
    on.idle(TIMEOUT)
    on.settle()
    on.end_pods()
    on.hosts.refusal = None
    on.wake()
    assert on.says() == ("False", reason), "after the second wake in vain the next waits a little"
    on.idle(10)
    on.wake()
    assert on.says() == ("True", "Running")


@pytest.mark.requirement("H30")
def test_woken_in_vain_it_sleeps_on_when_its_spec_says_what_to_do() -> None:
    on = woken_in_vain("transcript-missing", 409)
    on.idle(TIMEOUT)
    on.settle()
    on.end_pods()
    on.world.edit(SESSIONS, NAME, onMissingTranscript="StartFresh")
    on.settle()
    assert on.says() == ("True", "Asleep")


@pytest.mark.requirement("H30")
def test_a_pod_that_may_have_the_last_copy_is_kept() -> None:
    on = awake()
    pod = next(on.world.pods())
    restarted = [serving()["containerStatuses"][0] | {"restartCount": 1}]
    on.world.set_pod(pod, serving() | {"containerStatuses": restarted})
    on.hosts.held.clear()
    on.hear()
    on.hosts.refusal = error_for(409, {"type": "transcript-diverged", "detail": "so it is"})
    on.settle()
    assert on.says("Stalled") == ("True", "TranscriptDiverged")
    on.idle(TIMEOUT * 10)
    on.settle()
    assert on.pods() == [own_pod(1)]
    on.world.edit(SESSIONS, NAME, suspended=True)
    on.settle()
    assert on.pods() == [own_pod(1)], "nor does it go with a suspension"


@pytest.mark.requirement("H30")
def test_after_its_first_turn_nobody_takes_an_empty_store_for_a_session_that_never_spoke() -> None:
    on = awake()
    on.tell(transcript=Transcript(entries=4).model_dump(), usage=Usage(turns=1).model_dump())
    assert on.settle() > 0, "what comes later may wait, this may not"
    assert on.session().status.transcript == Transcript(entries=4)
    on.tell(transcript=Transcript(entries=8).model_dump())
    assert on.settle() == 0


@pytest.mark.requirement("H30", "H31")
def test_that_a_transcript_is_not_safe_in_the_store_is_an_event_once() -> None:
    on = awake()
    on.tell(durable=True)
    on.settle()
    on.tell(durable=False, store_problem="StoreUnreachable")
    on.settle()
    on.tell(durable=False, store_problem="StoreBehind")
    on.settle()
    assert on.events() == ["StoreUnreachable"]
    on.tell(durable=True)
    on.settle()
    on.tell(durable=False, store_problem="StoreBehind")
    on.settle()
    assert on.events() == ["StoreUnreachable", "StoreBehind"]


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
