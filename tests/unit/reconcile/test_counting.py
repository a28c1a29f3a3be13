"""What the metrics say of sessions that sleep and wake: each wake, sleep and resume once, and how long wakes take."""

import pytest

from agentsessions import metrics
from agentsessions.api.host import Beginning
from agentsessions.hosts.errors import TranscriptMissing
from agentsessions.kube.paths import SESSIONS
from agentsessions.reconcile.longrunning.counting import Tally
from unit.hosts.fakehost import make_host_session
from unit.hybrid import TIMEOUT, UID, Stage, awake, in_pool, make_nap, sleep, start
from unit.make import NOW, later

FOUND = ("TranscriptFound", "TranscriptMissing", "TranscriptTruncated", "TranscriptDiverged")


def value(name: str, **labels: str) -> float:
    """Return the present value of a sample."""
    return metrics.REGISTRY.get_sample_value(f"agentsessions_{name}", labels) or 0.0


class Since:
    """How much samples have grown since this was made."""

    def __init__(self) -> None:
        self._before = self._all()

    def grown(self, name: str, **labels: str) -> float:
        """Return by how much."""
        key = (f"agentsessions_{name}", tuple(sorted(labels.items())))
        return self._all().get(key, 0.0) - self._before.get(key, 0.0)

    def _all(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        samples = (sample for family in metrics.REGISTRY.collect() for sample in family.samples)
        return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}


class Clock:
    """A clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def timed(on: Stage) -> Clock:
    """Give the operator a clock that the test moves."""
    clock = Clock()
    on.lasting.tally.clock = clock
    return clock


def test_a_life_from_sleep_to_sleep_is_counted_once() -> None:
    on, since = start(), Since()
    clock = timed(on)
    on.settle()
    on.ask()
    on.settle()
    assert (since.grown("wakes_total", outcome="own-pod"), since.grown("wake_duration_seconds_count")) == (1, 0)
    clock.now += 3.5
    on.start_pods()
    on.settle()
    assert (since.grown("wake_duration_seconds_count"), since.grown("wake_duration_seconds_sum")) == (1, 3.5)
    on.hear()
    on.settle()
    assert since.grown("put_aways_total") == 0
    sleep(on)
    assert on.says() == ("True", "Asleep")
    assert since.grown("put_aways_total") == 1
    clock.now += 9000
    on.wake()
    assert (since.grown("wakes_total", outcome="own-pod"), since.grown("wake_duration_seconds_count")) == (2, 2)
    assert since.grown("session_start_duration_seconds_count") == 0, "it may have slept for days before"


def test_wakes_in_a_pool_are_counted_as_such() -> None:
    on, since = in_pool(), Since()
    on.settle()
    on.wake()
    assert on.says() == ("True", "Running")
    assert since.grown("wakes_total", outcome="pool") == 1
    assert since.grown("wakes_total", outcome="own-pod") == 0
    assert since.grown("wake_duration_seconds_count") == 1


def test_a_pod_that_is_lost_is_no_wake_and_its_successor_is_not_timed() -> None:
    on = awake()
    since = Since()
    on.lose(on.pods()[0])
    on.settle()
    on.start_pods()
    on.settle()
    assert on.says() == ("True", "Running")
    assert on.session().status.wakes == 2
    assert since.grown("wakes_total", outcome="own-pod") == 0
    assert since.grown("wake_duration_seconds_count") == 0


def test_a_wake_that_another_operator_began_is_counted_and_not_timed() -> None:
    on, since = start(), Since()
    on.settle()
    on.ask()
    on.settle()
    on.restart()
    on.start_pods()
    on.settle()
    on.hear()
    on.settle()
    assert on.says() == ("True", "Running")
    assert since.grown("wakes_total", outcome="own-pod") == 1
    assert since.grown("wake_duration_seconds_count") == 0


def test_a_session_that_is_gone_leaves_nothing_behind() -> None:
    on = start()
    on.settle()
    on.ask()
    on.settle()
    on.lasting.tally.heard("pod", make_host_session(UID))
    on.world.remove(SESSIONS, *on.session().key)
    on.look()
    assert on.lasting.tally == Tally()


def test_resumes_are_counted_by_what_was_found_from_zero_on() -> None:
    for outcome in FOUND:
        assert metrics.REGISTRY.get_sample_value("agentsessions_resumes_total", {"outcome": outcome}) is not None
    on = awake()
    since = Since()
    on.hosts.beginning = Beginning.RESUMED
    for number in range(1, 4):
        sleep(on)
        on.wake()
        assert on.says("Resumed") == ("True", "TranscriptFound")
        assert since.grown("resumes_total", outcome="TranscriptFound") == number
    assert sum(since.grown("resumes_total", outcome=outcome) for outcome in FOUND) == 3


@pytest.mark.parametrize(
    ("slug", "outcome"),
    [
        ("transcript-missing", "TranscriptMissing"),
        ("transcript-truncated", "TranscriptTruncated"),
        ("transcript-diverged", "TranscriptDiverged"),
    ],
)
def test_a_conversation_that_is_not_whole_is_counted_once_however_often_it_is_tried(slug: str, outcome: str) -> None:
    on = awake()
    sleep(on)
    since = Since()
    on.hosts.refusal = TranscriptMissing(409, slug, "")
    on.wake()
    for _ in range(3):
        on.idle(60)
        on.look()
    assert on.says("Stalled") == ("True", outcome)
    assert since.grown("resumes_total", outcome=outcome) == 1
    on.hosts.refusal, on.hosts.beginning = None, Beginning.RESUMED
    on.idle(60)
    on.settle()
    assert on.says() == ("True", "Running")
    assert since.grown("resumes_total", outcome="TranscriptFound") == 1
    assert since.grown("resumes_total", outcome=outcome) == 1


def test_a_turn_that_a_lost_pod_cut_is_counted_when_it_is_found() -> None:
    on = awake()
    since = Since()
    on.lose(on.pods()[0])
    on.hosts.beginning, on.hosts.interrupted = Beginning.RESUMED, True
    on.settle()
    on.start_pods()
    on.settle()
    on.hear()
    on.settle()
    assert on.says("Resumed") == ("True", "TranscriptFound")
    assert since.grown("turns_interrupted_total") == 1


def test_a_pod_that_is_given_up_with_nothing_stored_was_not_put_away() -> None:
    on, since = start(make_nap(limits={"startDeadlineSeconds": 60})), Since()
    on.settle()
    on.ask()
    on.settle()
    on.idle(61)
    on.settle()
    assert on.says() == ("False", "StartDeadlineExceeded")
    assert since.grown("put_aways_total") == 0


def test_a_host_that_is_busy_after_all_is_no_fault_and_is_counted_apart() -> None:
    on = awake()
    on.idle(TIMEOUT)
    for held in on.hosts.held.values():
        held[UID] = held[UID].model_copy(update={"idle_since": None})  # the operator has not heard of it
    since = Since()
    on.look()
    assert since.grown("put_aways_refused_total", reason="Busy") == 1


@pytest.mark.parametrize("reason", ["StoreBehind", "ArchiveFailed"])
def test_each_try_to_put_it_away_that_failed_is_counted(reason: str) -> None:
    tally, since = Tally(), Since()
    told_of(tally, reason, 1, 1, 61)
    assert since.grown("put_aways_refused_total", reason=reason) == 2


def told_of(tally: Tally, reason: str, *seconds: float) -> None:
    """Let a host, which had nothing to tell before, tell of a fault in the same words at each of these times."""
    tally.heard("pod", make_host_session(UID))
    for each in seconds:
        fault = {"reason": reason, "message": "The same each time.", "time": later(each)}
        tally.heard("pod", make_host_session(UID, fault=fault))


def test_other_faults_are_none_of_that() -> None:
    tally, since = Tally(), Since()
    tally.heard("pod", make_host_session(UID))
    tally.heard("pod", make_host_session(UID, fault={"reason": "Invented", "message": "", "time": NOW}))
    assert since.grown("put_aways_refused_total", reason="Invented") == 0


@pytest.mark.parametrize("reason", ["TurnDeadlineExceeded", "MaxTurnsExceeded", "ModelUnavailable"])
def test_each_turn_that_ended_at_a_bound_is_counted_once(reason: str) -> None:
    tally, since = Tally(), Since()
    told_of(tally, reason, 1, 1, 5)
    tally.heard("pod", make_host_session(UID))
    assert since.grown("limits_reached_total", reason=reason) == 2


def test_repairs_are_counted_as_they_are_told_and_not_again_after_a_restart() -> None:
    tally, since = Tally(), Since()
    for number in (2, 2, 3, 5):
        tally.heard("pod", make_host_session(UID, store_repairs=number))
    assert since.grown("store_repairs_total") == 3, "the first two may have been counted before"
    tally.heard("pod", make_host_session(UID, store_repairs=0))
    tally.heard("pod", make_host_session(UID, store_repairs=1))
    assert since.grown("store_repairs_total") == 4, "the host's process began anew"
    tally.heard("next pod", make_host_session(UID, store_repairs=4))
    assert since.grown("store_repairs_total") == 4


def test_what_the_store_had_when_it_fell_asleep_is_said_of_it_while_it_sleeps() -> None:
    on = awake()
    on.tell(durable=False, store_problem="StoreUnreachable")
    on.settle()
    assert on.says("TranscriptDurable") == ("False", "StoreUnreachable")
    on.idle(TIMEOUT)
    on.look()
    on.tell(durable=True, store_problem=None, put_away=True)
    on.settle()
    assert on.says() == ("True", "Asleep")
    assert on.says("TranscriptDurable") == ("True", "TranscriptStored")
