"""A Hybrid session and other agent images: moved between turns, and back to the former one in case of failure."""

import pytest

from agentsessions.api.config import Rollout
from agentsessions.api.host import HostSession, SessionFault
from agentsessions.api.names import ANNOTATION_IMAGE
from agentsessions.api.status import Transcript
from agentsessions.hosts.client import HostAddress
from agentsessions.hosts.errors import Busy
from agentsessions.kube.errors import Conflict
from agentsessions.kube.paths import PODS, SESSIONS
from agentsessions.metrics import session_rollouts
from agentsessions.reconcile.moves import HELD_SECONDS, Moves
from unit import kubelet
from unit.hybrid import CONFIG, NAME, TIMEOUT, UID, Stage, awake, in_pool, make_nap, own_pod, serving, sleep
from unit.make import NAMESPACE, NOW, SessionMaker
from unit.world import Request

OLD, NEW, NEWER = "registry.test/agent:1", "registry.test/agent:2", "registry.test/agent:3"
PAUSED = CONFIG.model_copy(update={"rollout": Rollout(paused=True)})
AT_ONCE = CONFIG.model_copy(update={"rollout": Rollout(fallback_seconds=0)})


def talked(maker: SessionMaker | None = None, **news: object) -> Stage:
    """Return a stage whose session is awake in the old image, idle after a turn."""
    on = awake(maker or make_nap(image=OLD))
    on.tell(idle_since=NOW, durable=True, **news)
    on.settle()
    return on


def image_of(on: Stage) -> str:
    """Return the image of the session's newest pod."""
    (*_, pod) = on.world.pods()
    return str(pod["spec"]["containers"][0]["image"])


def change(on: Stage, image: str, **spec: object) -> None:
    """Let a user change the image, and look until there is nothing to do but wait."""
    on.world.edit(SESSIONS, NAME, image=image, **spec)
    on.look()
    on.hear()
    on.settle()


def rollout(on: Stage) -> tuple[str | None, str | None]:
    """Return the current and the failed image in status."""
    found = on.session().status.rollout
    assert found is not None
    return found.current_image, found.failed_image


def counted(outcome: str) -> float:
    """Return how many sessions were moved, or rolled back."""
    return float(session_rollouts.labels(outcome)._value.get())


@pytest.mark.requirement("K02")
def test_an_idle_session_in_another_image_is_put_away_and_wakes_in_the_new_one() -> None:
    on, before = talked(), counted("moved")
    assert rollout(on) == (OLD, None)
    change(on, NEW)
    on.stores()
    on.settle()
    assert on.says() == ("True", "Asleep")
    on.end_pods()
    assert on.pods() == [], "nobody waits for it"
    on.idle(1)
    on.wake()
    assert (image_of(on), rollout(on)) == (NEW, (NEW, None))
    assert on.session().status.restarts == 0
    assert counted("moved") == before + 1


@pytest.mark.parametrize(
    ("spec", "news"),
    [
        pytest.param({}, {"idle_since": None}, id="in-a-turn-or-followed"),
        pytest.param({}, {"durable": False, "store_problem": "StoreUnreachable"}, id="not-in-the-store"),
        pytest.param({}, {"durable": None}, id="nothing-known-of-the-store"),
        pytest.param({"disruption": "Never"}, {}, id="never"),
    ],
)
def test_a_session_that_must_not_be_disturbed_now_is_not(spec: dict[str, str], news: dict[str, object]) -> None:
    on = talked(make_nap(image=OLD, **spec))
    on.tell(**{"idle_since": NOW, "durable": True} | news)
    change(on, NEW)
    assert on.hosts.asked == []
    assert on.says() == ("True", "Running")
    assert image_of(on) == OLD


def test_with_a_pause_a_session_changes_when_it_next_wakes() -> None:
    on = awake(make_nap(image=OLD))
    on.config = PAUSED
    on.restart()
    on.tell(idle_since=NOW, durable=True)
    change(on, NEW)
    assert on.hosts.asked == []
    on.config = CONFIG
    sleep(on)
    on.wake()
    assert image_of(on) == NEW


def test_another_setting_than_the_image_moves_nobody() -> None:
    on = talked()
    change(on, OLD, agent={"maxTurns": 7})
    assert on.hosts.asked == []


def mirrored(on: Stage) -> None:
    """Let somebody's webhook have put another registry into the newest pod."""
    (*_, pod) = on.world.pods()
    container = pod["spec"]["containers"][0]
    container["image"] = f"mirror.test/{container['image']}"


def test_an_image_that_a_webhook_has_put_in_its_place_moves_nobody() -> None:
    on = talked()
    mirrored(on)
    on.look()
    on.settle()
    assert on.hosts.asked == []
    change(on, OLD, agent={"maxTurns": 7})
    assert on.hosts.asked == []
    assert on.says() == ("True", "Running")
    change(on, NEW)
    assert on.hosts.asked


def test_a_pod_of_before_that_does_not_say_what_it_was_made_with_moves_nobody() -> None:
    on = talked()
    mirrored(on)
    (pod,) = on.world.pods()
    del pod["metadata"]["annotations"][ANNOTATION_IMAGE]
    on.look()
    on.settle()
    assert on.hosts.asked == []


def test_a_session_on_a_host_of_a_pool_is_the_pools_to_move() -> None:
    on = in_pool()
    on.wake()
    on.tell(idle_since=NOW, durable=True)
    on.world.put_template(image=NEW)
    on.look()
    on.hear()
    on.settle()
    assert on.hosts.asked == []
    assert on.session().status.rollout is None


def asleep(**spec: object) -> Stage:
    """Return a stage whose session has run in the old image, sleeps, and is to have the new one."""
    on = talked(make_nap(image=OLD, **spec))
    sleep(on)
    on.world.edit(SESSIONS, NAME, image=NEW)
    on.settle()
    on.ask()
    on.settle()
    assert image_of(on) == NEW
    return on


def fail(on: Stage, status: dict[str, object]) -> None:
    """Let the newest pod be in trouble, as its node reports, and look."""
    (*_, pod) = on.world.pods()
    on.world.set_pod(pod, status)
    on.settle()


@pytest.mark.requirement("K02")
def test_a_session_whose_new_image_cannot_be_pulled_wakes_in_the_old_one() -> None:
    on, before = asleep(), counted("rolled-back")
    fail(on, kubelet.creating("ErrImagePull"))
    assert on.says() == ("False", "Waking"), "who waits for it is not sent away"
    assert "cannot be pulled" in on.message("Ready")
    assert on.requeue is not None
    assert on.requeue.total_seconds() <= 30, "it is looked at when its time is over"
    on.idle(30)
    on.settle()
    on.end_pods()
    on.settle()
    assert (image_of(on), rollout(on)) == (OLD, (OLD, NEW))
    on.start_pods()
    on.settle()
    assert on.says() == ("True", "Running")
    assert on.says("Progressing") == ("False", "RolledBack")
    assert NEW in on.message("Progressing")
    assert "cannot be pulled" in on.message("Progressing")
    assert on.events().count("RolledBack") == 1
    assert on.session().status.resolved is not None
    assert on.session().status.resolved.image == OLD
    assert counted("rolled-back") == before + 1
    assert on.settle() == 0, "and stays there"


@pytest.mark.parametrize("seconds", [10, 30, 60])
def test_a_deadline_for_the_start_is_the_end_of_the_new_image_and_not_of_the_session(seconds: int) -> None:
    on = asleep(limits={"startDeadlineSeconds": seconds})
    fail(on, kubelet.creating("ErrImagePull"))
    on.idle(min(seconds, 30))
    on.settle()
    assert rollout(on) == (OLD, NEW)
    on.end_pods()
    on.settle()
    on.start_pods()
    on.settle()
    assert (on.says(), image_of(on)) == (("True", "Running"), OLD)


def test_a_new_image_that_a_webhook_has_put_another_registry_into_is_given_up_all_the_same() -> None:
    on = talked()
    mirrored(on)
    sleep(on)
    on.world.edit(SESSIONS, NAME, image=NEW)
    on.wake()
    mirrored(on)
    on.settle()
    assert rollout(on) == (NEW, None)
    sleep(on)
    on.world.edit(SESSIONS, NAME, image=NEWER)
    on.ask()
    on.settle()
    mirrored(on)
    fail(on, kubelet.creating("ErrImagePull"))
    on.idle(30)
    on.settle()
    on.end_pods()
    on.settle()
    assert (image_of(on), rollout(on)) == (NEW, (NEW, NEWER)), "without the mirror: that is the webhook's to name"


def falls_back_after_half_a_minute(on: Stage) -> None:
    """The new image is given up after thirty seconds from now, and not before."""
    on.idle(29)
    on.settle()
    assert rollout(on) == (OLD, None)
    on.idle(1)
    on.settle()
    assert rollout(on) == (OLD, NEW)


def test_what_a_pod_waited_for_before_it_pulled_is_not_held_against_its_image() -> None:
    on = asleep()
    fail(on, kubelet.unschedulable())
    on.idle(120)
    fail(on, kubelet.creating())
    on.idle(120)
    fail(on, kubelet.creating("ErrImagePull"))
    falls_back_after_half_a_minute(on)


def test_an_operator_that_is_started_anew_sees_for_itself_how_long_an_image_cannot_be_pulled() -> None:
    on = asleep()
    fail(on, kubelet.creating("ErrImagePull"))
    on.idle(29)
    on.restart()
    on.settle()
    falls_back_after_half_a_minute(on)


def test_ends_that_are_nobodys_fault_are_not_held_against_an_image() -> None:
    on = asleep()
    for ends in (1, 2, 3):
        fail(on, crashed(ends, "ContainerStatusUnknown"))
    assert on.session().status.restarts == 3
    assert (rollout(on), on.pods()) == ((OLD, None), [own_pod(2)])
    for ends in (4, 5, 6):
        fail(on, crashed(ends))
    assert rollout(on) == (OLD, NEW)


def crashed(ends: int, reason: str = "Error") -> dict[str, object]:
    """Return the status of a pod whose container has ended so often, and is to be started again."""
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    last = {"terminated": {"exitCode": 1, "reason": reason, "finishedAt": NOW.isoformat()}}
    body = kubelet.running()
    body["containerStatuses"][0] |= {"state": state, "lastState": last, "restartCount": ends - 1}
    return body


@pytest.mark.parametrize(("ends", "limit", "given_up"), [(2, 6, False), (3, 6, True), (1, 0, True)])
def test_a_new_image_that_ends_before_it_serves_is_given_up_after_some_tries(
    ends: int, limit: int, given_up: bool
) -> None:
    on = asleep(backoffLimit=limit)
    fail(on, crashed(ends))
    assert (rollout(on)[1] == NEW) is given_up
    assert ("deletionTimestamp" in next(iter(on.world.pods()))["metadata"]) is given_up


def meets_another(when: str, request: Request) -> None:
    """Let a write of the session's status meet one by somebody else."""
    if when == "before" and (request.verb, request.plural) == ("PATCH", SESSIONS.plural):
        raise Conflict(409, "the object has been modified", "Conflict")


def test_a_new_image_that_had_the_session_is_kept_for_what_is_nowhere_else_though_status_never_heard_of_it() -> None:
    on = asleep(backoffLimit=0)
    on.start_pods()
    on.world.around = meets_another
    with pytest.raises(Conflict):
        on.look()
    on.world.around = lambda when, request: None
    assert any(UID in held for held in on.hosts.held.values()), "its host has it, and the pass came to nothing"
    on.tell(durable=False, store_problem="StoreUnreachable")
    fail(on, crashed(1) | {"podIP": "10.0.0.9", "conditions": [{"type": "Ready", "status": "False"}]})
    assert on.pods() == [own_pod(2)]
    assert on.deletions() == 1, "of the pod that slept"
    assert on.says("Stalled") == ("True", "BackoffLimitExceeded")
    assert "nowhere else" in on.message()
    (*_, pod) = on.world.pods()
    on.world.set_pod(pod, serving())
    on.hear()
    on.settle()
    assert (on.says(), rollout(on)) == (("True", "Running"), (NEW, None))


def fallen_back() -> Stage:
    """Return a stage whose session sleeps after it ran in its former image, since the new one could not be pulled."""
    on = asleep()
    fail(on, kubelet.creating("ErrImagePull"))
    on.idle(30)
    on.settle()
    on.end_pods()
    on.settle()
    on.start_pods()
    on.settle()
    on.tell(idle_since=on.world.now, durable=True)
    on.settle()
    return on


def test_an_image_that_failed_an_hour_ago_is_tried_again_by_a_wake() -> None:
    on = fallen_back()
    on.idle(3600)
    on.look()
    assert on.says("Progressing") == ("False", "RolledBack"), "nobody is disturbed for it"
    on.stores()
    on.settle()
    on.end_pods()
    assert on.settle() == 0
    assert (on.says("Progressing"), rollout(on)) == (("False", "RolledBack"), (OLD, NEW)), "nor is it forgotten"
    on.wake()
    assert (on.says(), image_of(on), rollout(on)) == (("True", "Running"), NEW, (NEW, None))
    assert on.session().status.condition("Progressing") is None


def test_an_image_that_fails_again_is_left_alone_for_another_hour() -> None:
    on = fallen_back()
    on.idle(3600)
    sleep(on)
    on.ask()
    on.settle()
    assert (image_of(on), rollout(on)) == (NEW, (OLD, None))
    fail(on, kubelet.creating("ErrImagePull"))
    on.idle(30)
    on.settle()
    on.end_pods()
    on.settle()
    assert (image_of(on), rollout(on)) == (OLD, (OLD, NEW))
    assert on.events().count("RolledBack") == 2
    on.start_pods()
    on.settle()
    on.tell(idle_since=on.world.now, durable=True)
    sleep(on)
    on.wake()
    assert image_of(on) == OLD


def test_what_failed_is_tried_again_soon_only_when_the_settings_name_another_image() -> None:
    on = fallen_back()
    sleep(on)
    assert on.says("Progressing") == ("False", "RolledBack")
    on.wake()
    assert image_of(on) == OLD
    on.tell(idle_since=on.world.now, durable=True)
    sleep(on)
    on.world.edit(SESSIONS, NAME, image=NEWER)
    on.settle()
    assert on.session().status.condition("Progressing") is None
    on.wake()
    assert (image_of(on), rollout(on)) == (NEWER, (NEWER, None))


def test_the_first_image_of_a_session_has_nothing_to_go_back_to() -> None:
    on = Stage(config=AT_ONCE)
    on.world.add(SESSIONS, make_nap(image=NEW).json())
    on.settle()
    on.ask()
    on.settle()
    fail(on, kubelet.creating("ErrImagePull"))
    on.idle(3600)
    on.settle()
    assert on.says() == ("False", "ImagePullFailed")
    assert on.pods() == [own_pod(1)]


def test_an_image_that_has_served_is_not_given_up_when_its_node_cannot_pull_it() -> None:
    on = talked()
    sleep(on)
    on.ask()
    on.settle()
    fail(on, kubelet.creating("ErrImagePull"))
    on.idle(3600)
    on.settle()
    assert rollout(on) == (OLD, None)
    assert on.says() == ("False", "ImagePullFailed")


def slept_before_an_upgrade(*, spoke: bool) -> Stage:
    """Return a stage whose session was put to sleep by an operator that wrote nothing of images."""
    on = talked(transcript=Transcript(entries=3) if spoke else None)
    sleep(on)
    stored = on.world.objects[SESSIONS, NAMESPACE, NAME]["status"]
    del stored["rollout"]
    on.world.edit(SESSIONS, NAME, image=NEW)
    assert on.settle() <= 1, "nothing is written of one that sleeps, but that its spec was seen"
    assert on.session().status.rollout is None
    return on


@pytest.mark.parametrize(("spoke", "expected"), [(True, OLD), (False, NEW)])
def test_one_that_slept_while_the_operator_was_upgraded_goes_back_to_what_it_ran_in(spoke: bool, expected: str) -> None:
    on = slept_before_an_upgrade(spoke=spoke)
    on.ask()
    on.settle()
    assert image_of(on) == NEW
    fail(on, kubelet.creating("ErrImagePull"))
    on.idle(30)
    on.settle()
    on.end_pods()
    on.settle()
    assert image_of(on) == expected


def test_a_session_that_loses_its_pod_goes_on_in_the_former_image_too() -> None:
    on = talked()
    on.tell(idle_since=None)
    change(on, NEW)
    on.lose(own_pod(1))
    on.settle()
    assert image_of(on) == NEW
    fail(on, kubelet.creating("ImagePullBackOff"))
    on.idle(30)
    on.settle()
    on.end_pods()
    on.settle()
    assert image_of(on) == OLD
    assert (PODS, NAMESPACE, own_pod(2)) not in on.world.objects


def test_a_pod_that_starts_after_all_is_left_alone() -> None:
    on = asleep()
    fail(on, kubelet.creating("ErrImagePull"))
    (*_, pod) = on.world.pods()
    on.world.set_pod(pod, serving())
    on.idle(60)
    on.hear()
    on.settle()
    assert rollout(on) == (NEW, None)


# Turns


def moves(most: int) -> tuple[Moves, list[tuple[str, str]], list[float]]:
    """Return turns for so many, who was called, and the clock."""
    called: list[tuple[str, str]] = []
    clock = [0.0]
    return Moves(Rollout(max_unavailable=most), called.append, lambda: clock[0]), called, clock


def key(name: str) -> tuple[str, str]:
    return NAMESPACE, name


def test_so_many_are_moved_at_a_time_and_the_next_is_called_when_one_sleeps() -> None:
    found, called, _ = moves(2)
    assert [found.turn(key(name)) for name in "abcda"] == [True, True, False, False, True]
    found.done(key("a"))
    assert called == [key("c")]
    assert [found.turn(key(name)) for name in "dc"] == [True, False]
    found.done(key("x"))
    assert called == [key("c")], "one that had no place gives none away"


def test_one_that_is_gone_while_it_waits_is_not_called() -> None:
    found, called, _ = moves(1)
    assert [found.turn(key(name)) for name in "abc"] == [True, False, False]
    found.done(key("b"))
    found.done(key("a"))
    assert called == [key("c")]


def test_a_place_is_not_held_for_ever() -> None:
    found, _, clock = moves(1)
    assert found.turn(key("a"))
    clock[0] = HELD_SECONDS
    assert found.turn(key("b"))


def test_one_whose_time_is_over_goes_behind_those_that_wait() -> None:
    found, called, clock = moves(1)
    assert [found.turn(key(name)) for name in "abc"] == [True, False, False]
    clock[0] = HELD_SECONDS
    assert not found.turn(key("a"))
    assert called == [key("b")]
    assert found.turn(key("b"))
    found.done(key("b"))
    assert called == [key("b"), key("c")]


def test_one_that_cannot_be_put_away_again_and_again_keeps_nobody_waiting_and_is_not_counted() -> None:
    (found, called, clock), before = moves(1), counted("moved")
    for _ in range(3):
        assert found.turn(key("a"))
        clock[0] += 5
        found.done(key("a"))
        clock[0] += HELD_SECONDS
    assert found.turn(key("a"))
    assert not found.turn(key("b"))
    found.done(key("a"))
    assert called == [key("b")]
    assert counted("moved") == before
    assert found.turn(key("b"))
    found.done(key("b"), moved=True)
    found.done(key("b"), moved=True)
    assert counted("moved") == before + 1


def test_one_that_took_longer_than_its_time_is_counted_when_it_sleeps() -> None:
    (found, _, clock), before = moves(1), counted("moved")
    assert [found.turn(key(name)) for name in "ab"] == [True, False]
    clock[0] = HELD_SECONDS
    assert not found.turn(key("a"))
    found.done(key("a"), moved=True)
    assert counted("moved") == before + 1


def moving() -> Stage:
    """Return a stage whose session is being put away for another image, in the only place, while another one waits."""
    on = talked()
    on.lasting.moves = Moves(Rollout(max_unavailable=1), on.called.append)
    on.world.edit(SESSIONS, NAME, image=NEW)
    return on


def test_a_session_that_its_host_could_not_put_away_gives_its_place_to_the_next() -> None:
    on = moving()
    on.look()
    on.hear()
    on.settle()
    assert on.hosts.asked
    assert not on.lasting.moves.turn(key("another"))
    fault = SessionFault(reason="ArchiveFailed", message="no bucket", time=on.world.now)
    on.tell(idle_since=NOW, durable=True, fault=fault)
    on.settle()
    assert on.called == [key("another")]


def test_a_session_that_begins_a_turn_gives_its_place_to_the_next() -> None:
    on = moving()
    on.look()
    on.hear()
    on.settle()
    assert not on.lasting.moves.turn(key("another"))
    on.tell(idle_since=None, durable=True)
    on.settle()
    assert on.called == [key("another")]


def test_a_session_whose_host_finds_it_busy_holds_no_place() -> None:
    on, asked = moving(), []

    async def busy(host: HostAddress, session_id: str, *, patient: bool) -> HostSession:
        asked.append(session_id)
        raise Busy(409, "session-busy", "")

    on.hosts.suspend = busy  # type: ignore[method-assign]
    on.look()
    on.hear()
    on.settle()
    assert asked
    assert on.lasting.moves.turn(key("another"))


def test_the_driver_asks_for_a_turn() -> None:
    on = talked()
    on.lasting.moves = found = Moves(Rollout(max_unavailable=1), on.called.append)
    assert found.turn(key("another"))
    change(on, NEW)
    assert on.hosts.asked == []
    assert on.requeue is not None
    assert on.requeue.total_seconds() <= TIMEOUT
    found.done(key("another"))
    assert on.called == [key(NAME)]
    on.look()
    assert on.hosts.asked
