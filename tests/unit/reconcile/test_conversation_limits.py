"""Conversations that reach a bound: they say so, sleep, are not woken, and go on when the bound is raised."""

from datetime import timedelta

import pytest

from agentsessions.api.host import Limit, Phase, SessionFault
from agentsessions.api.status import Transcript, Usage
from agentsessions.hosts.errors import Unreachable
from agentsessions.kube.paths import SESSIONS
from unit.hosts.fakehost import FakeHost, make_host_session, until
from unit.hybrid import NAME, TIMEOUT, UID, Stage, awake, in_pool, make_nap, make_pooled, own_pod, sleep, start
from unit.kstatus import kstatus
from unit.lasting import make_talk, stage
from unit.make import NAMESPACE, NOW
from unit.reconcile.test_counting import Since

TURNS = {"maxSessionTurns": 10}
DAY = 86_400
OVERDUE = "The turn took longer than it may (`limits.turnDeadlineSeconds`) and was ended."
SPENT = "The turn was ended: the agent used all the model turns of one message (`agent.maxTurns`)."


def raised(on: Stage, **limits: object) -> None:
    """Let somebody change the session's limits."""
    on.world.edit(SESSIONS, NAME, limits=limits)


def spend(on: Stage, turns: int = 10) -> None:
    """Let the host tell that the session has used its turns."""
    on.tell(usage=Usage(turns=turns), transcript=Transcript(entries=turns), limit=Limit.TURNS, phase=Phase.SUSPENDED)
    on.settle()


@pytest.mark.requirement("H50", "H51")
def test_a_session_that_has_used_its_turns_says_so_once_and_falls_asleep_as_usual() -> None:
    on, since = awake(make_nap(limits=TURNS)), Since()
    assert on.hosts.given[0].settings.limits.max_session_turns == 10
    spend(on)
    assert on.says("Stalled") == ("True", "TurnLimitReached")
    assert "maxSessionTurns" in on.message()
    assert kstatus(on.session().to_json()) == "Failed"
    assert on.events() == ["TurnLimitReached"]
    assert since.grown("limits_reached_total", reason="TurnLimitReached") == 1
    sleep(on)
    assert (on.says(), on.session().status.host, on.pods()) == (("False", "TurnLimitReached"), None, [])
    assert on.session().status.usage == Usage(turns=10)
    assert on.settle() == 0
    assert on.events() == ["TurnLimitReached"]


@pytest.mark.requirement("H50")
def test_one_that_has_reached_a_bound_is_not_woken_until_it_is_raised() -> None:
    on = awake(make_nap(limits=TURNS))
    spend(on)
    sleep(on)
    on.ask()
    on.settle()
    assert on.pods() == []
    raised(on, maxSessionTurns=20)
    on.settle()
    assert on.pods() == [own_pod(2)], "what was asked meanwhile is answered"
    on.start_pods()
    on.settle()
    assert on.says() == ("True", "Running")
    assert on.session().status.restarts == 0
    assert on.hosts.given[-1].settings.limits.max_session_turns == 20


def test_raised_while_it_sleeps_it_sleeps_on_and_is_well() -> None:
    on = awake(make_nap(limits=TURNS))
    spend(on)
    sleep(on)
    raised(on, maxSessionTurns=20)
    on.settle()
    assert on.says() == ("True", "Asleep")


@pytest.mark.requirement("H50")
def test_raised_while_it_is_awake_its_host_is_told_and_it_runs() -> None:
    on = awake(make_nap(limits=TURNS))
    spend(on)
    raised(on, maxSessionTurns=20)
    on.look()
    assert on.hosts.given[-1].settings.limits.max_session_turns == 20
    on.tell(limit=None)
    on.settle()
    assert on.says() == ("True", "Running")
    assert len(on.hosts.given) == 2


def given(seconds: int) -> Stage:
    """Return a stage whose session, which may be 200 seconds old, is taken by its host at that age."""
    on = start(make_nap(limits={"maxAgeSeconds": 200}))
    on.settle()
    on.ask()
    on.settle()
    on.idle(seconds)
    on.start_pods()
    on.look()
    return on


def test_a_host_is_not_the_last_that_looks_at_the_age_of_what_it_takes() -> None:
    on = given(150)
    assert on.says() == ("True", "Running")
    assert on.requeue == timedelta(seconds=50)


def test_a_bound_that_is_reached_while_a_host_takes_the_session_is_told() -> None:
    on = given(200)
    assert on.says() == ("False", "AgeLimitReached")
    assert on.events() == ["AgeLimitReached"]


@pytest.mark.requirement("H50")
def test_a_session_that_sleeps_grows_too_old_by_the_clock() -> None:
    on = start(make_nap(limits={"maxAgeSeconds": DAY}))
    on.settle()
    assert on.says() == ("True", "Asleep")
    assert on.requeue == timedelta(seconds=DAY)
    on.idle(DAY)
    on.settle()
    assert on.status_writes() == 2
    assert on.says() == ("False", "AgeLimitReached")
    assert on.events() == ["AgeLimitReached"]
    assert on.requeue is None
    raised(on, maxAgeSeconds=2 * DAY)
    on.settle()
    assert on.says() == ("True", "Asleep")


def test_a_session_that_is_awake_grows_too_old_without_news_of_its_host() -> None:
    on = awake(make_nap(limits={"maxAgeSeconds": 200}))
    assert on.hosts.given[0].settings.limits.not_after == NOW + timedelta(seconds=200)
    assert on.requeue == timedelta(seconds=200)
    on.idle(200)
    on.settle()
    assert on.says() == ("False", "AgeLimitReached")
    assert on.pods() == [own_pod(1)], "it falls asleep when it has been idle, as any other"


def test_in_a_pool_it_gives_its_place_back_and_gets_another_without_a_restart() -> None:
    on = in_pool(make_pooled(limits=TURNS))
    on.settle()
    on.wake()
    spend(on)
    sleep(on)
    assert on.says() == ("False", "TurnLimitReached")
    assert on.session().status.host is None
    on.ask()
    raised(on, maxSessionTurns=20)
    on.settle()
    assert on.says() == ("True", "Running")
    assert on.session().status.restarts == 0


def test_a_session_that_is_suspended_says_that_first() -> None:
    on = awake(make_nap(limits=TURNS))
    spend(on)
    on.world.objects[SESSIONS, NAMESPACE, NAME]["spec"]["suspended"] = True
    sleep(on)
    assert on.says() == ("True", "Suspended")


@pytest.mark.requirement("H50")
async def test_on_a_shared_host_it_stays_where_it_is_and_a_restarted_operator_says_the_same() -> None:
    host = FakeHost()
    async with stage(host, maker=make_talk(limits=TURNS)) as on:
        await on.settle()
        (given,) = host.given
        told = make_host_session(str(given.session_id), usage=Usage(turns=12), limit=Limit.TURNS)
        host.tell(told)
        await until(lambda: on.lasting.streams.session(str(given.session_id), host.uid).limit)  # type: ignore[union-attr]
        await on.settle()
        assert on.says("Stalled") == ("True", "TurnLimitReached")
        assert on.session().status.host is not None
        assert await on.settle() == 0
        assert len(host.given) == 1


@pytest.mark.requirement("H50")
def test_a_turn_that_took_too_long_is_told_once_and_forgotten_after_the_next() -> None:
    on = awake(make_nap(limits={"turnDeadlineSeconds": 60}))
    assert on.hosts.given[0].settings.limits.turn_deadline_seconds == 60
    fault = SessionFault(reason="TurnDeadlineExceeded", message=OVERDUE, time=NOW)
    on.tell(fault=fault)
    on.settle()
    assert on.says() == ("True", "Running")
    assert OVERDUE in on.message()
    assert on.events() == ["TurnDeadlineExceeded"]
    on.restart()
    on.settle()
    assert OVERDUE in on.message(), "an operator that has heard nothing yet takes nothing back"
    on.hear()
    on.settle()
    assert on.events() == ["TurnDeadlineExceeded"]
    on.tell(fault=None)
    on.idle(60)
    on.settle()
    assert OVERDUE not in on.message()


@pytest.mark.requirement("H50")
@pytest.mark.parametrize("reason", ["MaxTurnsExceeded", "ModelUnavailable"])
def test_a_turn_that_ended_at_another_bound_is_told_as_well(reason: str) -> None:
    on = awake(make_nap())
    on.tell(fault=SessionFault(reason=reason, message=SPENT, time=NOW))
    on.settle()
    assert on.says() == ("True", "Running")
    assert SPENT in on.message()
    assert on.events() == [reason]
    on.idle(1)
    on.tell(fault=SessionFault(reason=reason, message=SPENT, time=on.world.now))
    assert on.settle() == 0, "the next one that ends so is no news"


@pytest.mark.requirement("H50")
def test_a_bound_that_a_turn_reached_while_its_host_was_not_reached_is_told_as_well() -> None:
    on = start(make_nap())
    on.settle()
    on.hosts.refusal = Unreachable(0, "unreachable", "")
    on.wake()
    assert on.says("Reconciling") == ("True", "HostUnreachable")
    (pod,) = on.world.pods()
    fault = SessionFault(reason="MaxTurnsExceeded", message=SPENT, time=on.world.now)
    on.hosts.held[pod["metadata"]["uid"]] = {UID: make_host_session(UID, NAME, NAMESPACE, fault=fault)}
    on.hosts.refusal = None
    on.settle()
    assert SPENT in on.message()
    assert on.events() == ["MaxTurnsExceeded"]


@pytest.mark.requirement("H50")
def test_turns_of_which_every_other_one_reaches_a_bound_cost_no_write_each() -> None:
    on = awake(make_nap())
    before = on.status_writes()
    for number in range(30):
        on.idle(1)
        fault = None if number % 2 else SessionFault(reason="MaxTurnsExceeded", message=SPENT, time=on.world.now)
        on.tell(fault=fault, usage=Usage(turns=20 * number))
        on.settle()
    assert on.status_writes() - before == 1
    assert on.events() == ["MaxTurnsExceeded"]
    on.idle(60)
    on.settle()
    assert SPENT not in on.message(), "the last one ended well"


@pytest.mark.requirement("H51")
def test_the_process_of_a_hybrid_session_is_recycled_too() -> None:
    on = awake(make_nap(limits={"recycleMemory": "700Mi", "recycleAgeSeconds": 3600}))
    limits = on.hosts.given[0].settings.limits
    assert (limits.recycle_memory, limits.recycle_age_seconds) == ("700Mi", 3600)


@pytest.mark.requirement("H50", "H51")
def test_one_at_its_bound_that_cannot_be_put_away_says_both_and_stays_stalled() -> None:
    on = awake(make_nap(limits=TURNS))
    spend(on)
    on.idle(TIMEOUT)
    on.look()
    fault = SessionFault(reason="ArchiveFailed", message="The bucket is gone.", time=on.world.now)
    on.tell(fault=fault, idle_since=NOW)
    on.look()
    assert on.says("Stalled") == ("True", "TurnLimitReached")
    assert on.says("Active")[0] == "False"
    assert "maxSessionTurns" in on.message()
    assert "The bucket is gone." in on.message()
    assert on.events() == ["TurnLimitReached", "ArchiveFailed"]
    written = on.status_writes()
    for _ in range(3):  # the host's stream is cut, and taken up again
        on.hosts.views.clear()
        on.look()
        on.hear()
        on.look()
    assert on.status_writes() == written
    assert on.events() == ["TurnLimitReached", "ArchiveFailed"]


@pytest.mark.requirement("H51")
def test_a_stream_that_is_cut_leaves_a_process_that_failed_as_it_was() -> None:
    on = awake()
    on.tell(phase=Phase.FAILED, fault=SessionFault(reason="AgentNotStarted", message="No room.", time=NOW))
    on.settle()
    on.hosts.views.clear()
    assert on.settle() == 0
    assert on.says("Stalled") == ("True", "CLIFailed")
