"""`ttlSecondsAfterIdle`: a session that nobody talks to any more is deleted, and none that anybody may still want."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from agentsessions import metrics
from agentsessions.api.names import FINALIZER
from agentsessions.api.status import Usage
from agentsessions.hosts.errors import StorageTrouble
from agentsessions.kube.paths import EVENTS, SESSIONS, TEMPLATES
from unit.hybrid import KEY, NAME, STORE, TIMEOUT, Stage, awake, in_pool, make_nap, make_pooled, sleep, start
from unit.make import NAMESPACE, SessionMaker
from unit.world import Request

TTL = 3600


def brief(**spec: object) -> SessionMaker:
    """Start with a session that is kept for an hour of sleep."""
    return make_nap(**{"ttlSecondsAfterIdle": TTL} | spec)


def is_there(on: Stage) -> bool:
    """Return whether the session still is."""
    return on.world.peek(SESSIONS, *KEY) is not None


def asleep(maker: SessionMaker | None = None) -> Stage:
    """Return a stage whose session was awake once and sleeps."""
    on = awake(maker or brief())
    fall_asleep(on)
    return on


def fall_asleep(on: Stage) -> None:
    """Let the session be idle for so long that it sleeps, and its pod end."""
    on.idle(TIMEOUT)
    on.settle()
    on.stores()
    on.settle()
    on.end_pods()
    on.settle()
    assert on.says() == ("True", "Asleep")


def test_one_that_has_slept_for_its_time_to_live_is_deleted_and_not_a_second_before() -> None:
    on = asleep()
    assert on.requeue == timedelta(seconds=TTL)
    on.idle(TTL - 1)
    assert on.settle() == 0
    assert on.requeue == timedelta(seconds=1)
    on.idle(1)
    on.look()
    assert not is_there(on)
    assert list(on.world.pods()) == []


def test_one_that_nobody_ever_woke_counts_from_its_creation() -> None:
    on = start(brief())
    on.settle()
    on.idle(TTL)
    on.look()
    assert not is_there(on)


def test_one_that_is_found_too_old_is_first_said_to_sleep() -> None:
    on = start(brief())
    on.idle(TTL * 9)
    on.look()
    assert on.says() == ("True", "Asleep")
    on.look()
    assert not is_there(on)


def test_unset_it_is_kept_for_ever() -> None:
    on = asleep(make_nap())
    on.idle(10 * 365 * 86_400)
    assert on.settle() == 0
    assert on.requeue is None


def test_every_sleep_counts_anew() -> None:
    on = asleep()
    on.idle(TTL - 1)
    on.wake()
    on.idle(TTL)
    on.settle()
    assert is_there(on), "it is awake"
    fall_asleep(on)
    on.idle(TTL - 1)
    on.look()
    assert is_there(on)


def test_a_suspended_one_is_kept_and_has_its_whole_time_afterwards() -> None:
    on = asleep()
    on.world.edit(SESSIONS, NAME, suspended=True)
    on.settle()
    on.idle(TTL * 9)
    assert on.settle() == 0
    assert on.requeue is None
    on.world.edit(SESSIONS, NAME, suspended=False)
    on.settle()
    assert on.requeue == timedelta(seconds=TTL)
    on.idle(TTL)
    on.look()
    assert not is_there(on)


def test_one_that_cannot_wake_is_kept() -> None:
    on = woken_in_vain()
    assert on.session().status.host is None, "it gave its pod back"
    on.idle(TTL * 9)
    on.settle()
    assert is_there(on)


def past_its_turns() -> Stage:
    """Return a stage whose session fell asleep at its bound."""
    on = awake(brief(limits={"maxSessionTurns": 5}))
    on.tell(usage=Usage(turns=5))
    on.settle()
    sleep(on)
    assert on.says() == ("False", "TurnLimitReached")
    return on


def past_its_age() -> Stage:
    """Return a stage whose session grew too old in its sleep."""
    on = asleep(brief(limits={"maxAgeSeconds": TIMEOUT + 60}))
    on.idle(60)
    on.settle()
    assert on.says() == ("False", "AgeLimitReached")
    return on


def woken_in_vain() -> Stage:
    """Return a stage whose session could not go on, and gave its pod back."""
    on = start(brief())
    on.settle()
    on.ask()
    on.settle()
    on.hosts.refusal = StorageTrouble(409, "store-refused", "The password is wrong.")
    on.start_pods()
    on.settle()
    sleep(on)
    assert on.says() == ("False", "StoreRefused")
    return on


def without_its_template() -> Stage:
    """Return a stage whose session sleeps, and whose template was removed."""
    on = start(brief(templateRef={"name": "t"}))
    on.world.put_template("t", priority=1)
    on.settle()
    on.world.remove(TEMPLATES, NAMESPACE, "t")
    on.settle()
    assert on.says() == ("False", "TemplateNotFound")
    return on


def raise_its_turns(on: Stage) -> None:
    """Let somebody raise the bound on turns."""
    on.world.edit(SESSIONS, NAME, limits={"maxSessionTurns": 500})


def raise_its_age(on: Stage) -> None:
    """Let somebody raise the bound on age."""
    on.world.edit(SESSIONS, NAME, limits={"maxAgeSeconds": 365 * 86_400})


def change_its_spec(on: Stage) -> None:
    """Let somebody mend what its spec names."""
    on.world.edit(SESSIONS, NAME, onMissingTranscript="StartFresh")


def bring_its_template(on: Stage) -> None:
    """Let somebody make the template again."""
    on.world.put_template("t", priority=1)


@pytest.mark.requirement("H51")
@pytest.mark.parametrize(
    ("stalled", "mend"),
    [
        (past_its_turns, raise_its_turns),
        (past_its_age, raise_its_age),
        (woken_in_vain, change_its_spec),
        (without_its_template, bring_its_template),
    ],
)
def test_one_that_was_stalled_for_long_and_is_mended_has_its_whole_time(
    stalled: Callable[[], Stage], mend: Callable[[Stage], None]
) -> None:
    on = stalled()
    on.idle(TTL * 9)
    on.settle()
    mend(on)
    on.settle()
    assert is_there(on), "nobody could talk to it all the time"
    assert on.says() == ("True", "Asleep")
    assert on.requeue == timedelta(seconds=TTL)
    on.idle(TTL)
    on.look()
    assert not is_there(on)


@pytest.mark.parametrize("change", ["message", "edit"])
def test_a_message_or_a_change_at_the_last_moment_keeps_it(change: str) -> None:
    on = asleep()
    on.idle(TTL)

    def at_the_last_moment(moment: str, request: Request) -> None:
        if moment == "before" and request.verb == "DELETE":
            on.world.around = lambda *_: None
            on.ask() if change == "message" else on.world.edit(SESSIONS, NAME, suspended=True)

    on.world.around = at_the_last_moment
    on.look()
    assert is_there(on)
    on.settle()
    assert on.says()[1] == ("Waking" if change == "message" else "Suspended")


def test_what_it_has_stored_goes_with_it_if_the_store_says_so() -> None:
    on = asleep(brief(sessionStore=STORE | {"onDelete": "Delete"}))
    on.idle(TTL)
    on.settle()
    assert list(on.session().metadata.finalizers) == [FINALIZER]
    assert on.says("Reconciling") == ("True", "Forgetting")


def test_one_of_a_pool_expires_too() -> None:
    on = in_pool(make_pooled(ttlSecondsAfterIdle=TTL))
    on.settle()
    on.wake()
    on.idle(TIMEOUT)
    on.settle()
    on.stores()
    on.settle()
    assert on.says() == ("True", "Asleep")
    on.idle(TTL)
    on.look()
    assert not is_there(on)


def test_a_pod_too_many_does_not_delay_it_and_goes_with_it() -> None:
    on = awake(brief())
    on.idle(TIMEOUT)
    on.settle()
    on.stores()
    on.settle()
    assert len(list(on.world.pods())) == 1, "its node has not ended it yet"
    on.idle(TTL)
    on.look()
    assert not is_there(on)


@pytest.mark.parametrize(
    ("of_session", "of_template", "goes"),
    [(None, TTL, True), (0, TTL, False), (TTL * 10, TTL, False), (TTL, 0, True), (None, 0, False), (None, None, False)],
)
def test_the_time_may_be_that_of_the_template_and_the_session_has_the_last_word(
    of_session: int | None, of_template: int | None, goes: bool
) -> None:
    on = start(make_nap(**({} if of_session is None else {"ttlSecondsAfterIdle": of_session})))
    on.world.put_template(**({} if of_template is None else {"ttlSecondsAfterIdle": of_template}))
    on.settle()
    on.idle(TTL)
    on.look()
    assert is_there(on) != goes


def expired() -> float:
    """Return how many idle sessions were deleted so far."""
    return metrics.REGISTRY.get_sample_value("agentsessions_sessions_expired_total", {"outcome": "idle"}) or 0.0


def test_its_end_is_told_once_by_an_event_and_counted() -> None:
    before, on = expired(), asleep()
    on.idle(TTL)
    on.look()
    (event,) = on.world.of(EVENTS)
    assert (event["type"], event["reason"]) == ("Normal", "Expired")
    assert "`ttlSecondsAfterIdle`" in event["note"]
    assert expired() == before + 1


def test_of_one_that_a_message_keeps_nothing_is_told() -> None:
    before, on = expired(), asleep()
    on.idle(TTL)

    def at_the_last_moment(moment: str, request: Request) -> None:
        if moment == "before" and request.verb == "DELETE":
            on.world.around = lambda *_: None
            on.ask()

    on.world.around = at_the_last_moment
    on.look()
    assert (on.world.of(EVENTS), expired()) == ([], before)
