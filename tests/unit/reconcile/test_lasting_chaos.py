"""Sessions that last, where anything may happen at any time: hosts, nodes, gateway, users, crashes, lost answers.

What must hold, holds after every step; and once nothing is in the way, the session is what its user asked for.
"""

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from agentsessions.api.base import Json
from agentsessions.api.conditions import WOKEN_IN_VAIN
from agentsessions.kube.paths import PODS, SESSIONS, TEMPLATES
from agentsessions.policies.hosts import host_facts
from agentsessions.reconcile.longrunning.hostwatch import clear_leftovers
from unit import kubelet
from unit.examples import looking
from unit.hostile import (
    KINDS,
    NEWS,
    OWN_POD_STATES,
    REFUSALS,
    a_stage,
    alive,
    cleanup_pods,
    look,
    obey,
    own_pods,
    put_pool_hosts,
)
from unit.hybrid import KEY, NAME, STORE, TIMEOUT, UID, Stage
from unit.interrupted import NUMBERS, Interrupted, at_request
from unit.kstatus import kstatus
from unit.make import NAMESPACE
from unit.operator_at_work import crash_at, finish


class Life(Interrupted):
    """One session in a hostile world."""

    on: Stage

    @initialize(
        kind=st.sampled_from(KINDS),
        on_delete=st.sampled_from(["Retain", "Delete"]),
        deletable=st.sampled_from([False, False, True]),
        awake=st.booleans(),
    )
    def begin(self, kind: str, on_delete: str, deletable: bool, awake: bool) -> None:
        self.on, self.pooled, self.deletable = a_stage(kind, on_delete), kind != "own pod", deletable
        self.store = STORE | {"onDelete": on_delete}
        self.numbers = (0, 0)
        self.suspended = False
        if awake:
            self.ask()
            self.all_goes_well_for_a_while()

    # The operator

    @rule()
    def look(self) -> None:
        look(self.on)

    @rule(
        number=NUMBERS,
        what=st.sampled_from(["ask", "toggle_suspension", "edit", "lose_a_pod", "drain_a_pod", "delete"]),
    )
    def look_while_something_happens(self, number: int, what: str) -> None:
        self.at_request(number, "before", getattr(self, what))

    @rule()
    def hear(self) -> None:
        self.on.hear()

    @rule()
    def be_deaf(self) -> None:
        self.on.hosts.views.clear()

    @rule()
    def clear_leftovers(self) -> None:
        finish(clear_leftovers(self.on.lasting))

    @rule(seconds=st.sampled_from([1, 10, 60, 600, 3600]))
    def time_passes(self, seconds: int) -> None:
        self.on.idle(seconds)

    # Nodes and hosts

    @rule(state=st.sampled_from(sorted(OWN_POD_STATES)))
    def node_reports(self, state: str) -> None:
        for pod in alive(own_pods(self.on)):
            if pod["status"]["phase"] == "Pending" or state not in ("creating", "pull fails", "no node"):
                self.on.world.set_pod(pod, OWN_POD_STATES[state])

    @rule(how=st.sampled_from([0, 1, 2]))
    def cleanup_ends(self, how: int) -> None:
        for pod in alive(cleanup_pods(self.on)):
            self.on.world.set_pod(pod, kubelet.ended(how))

    @rule()
    def node_lets_go_of_deleted_pods(self) -> None:
        self.on.end_pods()

    @rule()
    def lose_a_pod(self) -> None:
        for pod in self.a_pod():
            self.on.lose(pod["metadata"]["name"])

    @rule()
    def drain_a_pod(self) -> None:
        for pod in self.a_pod():
            self.on.world.delete_gracefully(PODS, pod)

    @rule()
    def hosts_come_back(self) -> None:
        if self.pooled:
            put_pool_hosts(self.on)

    @rule(why=st.sampled_from([None, None, *sorted(REFUSALS)]))
    def hosts_answer(self, why: str | None) -> None:
        self.on.hosts.refusal = REFUSALS[why] if why else None

    @rule(news=st.sampled_from(sorted(NEWS)))
    def host_tells(self, news: str) -> None:
        self.on.tell(**NEWS[news])

    @rule()
    def host_has_put_it_away(self) -> None:
        self.on.stores()

    @rule()
    def host_forgets_it(self) -> None:
        for held in self.on.hosts.held.values():
            held.pop(UID, None)

    # Users and gateway

    @rule()
    def ask(self) -> None:
        if self.is_there:
            self.on.idle(1)
            self.on.ask()

    @rule()
    def toggle_suspension(self) -> None:
        if self.is_there and self.hybrid:
            self.suspended = not self.suspended
            self.on.world.edit(SESSIONS, NAME, suspended=self.suspended)

    @rule()
    def edit(self) -> None:
        if self.is_there:
            agent = self.on.session().spec.agent
            turns = agent.max_turns if agent and agent.max_turns else 1
            self.on.world.edit(SESSIONS, NAME, agent={"maxTurns": turns + 1})

    @rule()
    def take_the_template_away(self) -> None:
        if self.on.world.peek(TEMPLATES, NAMESPACE, "default"):
            self.on.world.remove(TEMPLATES, NAMESPACE, "default")

    @rule()
    def delete(self) -> None:
        if self.is_there and self.deletable:
            self.on.world.delete_gracefully(SESSIONS, self.on.world.objects[SESSIONS, *KEY])

    @rule()
    def all_goes_well_for_a_while(self) -> None:
        for _ in range(4):
            look(self.on)
            obey(self.on, pool=self.pooled)

    @rule()
    def nothing_else_happens(self) -> None:
        """In a world that stands still a few passes are enough, and one more writes nothing."""
        self.on.settle()

    @rule()
    def all_is_calm_at_last(self) -> None:
        """Whatever happened, once nothing is in the way the session comes to where its user wants it, and rests."""
        self.mend()
        self.until(lambda: self.is_as_asked() and self.rests())

    def teardown(self) -> None:
        """In the end a message is answered by a host; and a session that can sleep sleeps when it is not talked to."""
        if not hasattr(self, "on"):
            return
        self.mend()
        awaited = self.is_there and not self.suspended and not self.is_going
        self.until(self.is_answered if awaited else self.is_as_asked)
        if awaited and self.hybrid:
            self.until(lambda: self.on.says() == ("True", "Asleep") and self.is_as_asked() and self.rests(), TIMEOUT)

    def is_answered(self) -> bool:
        """Return whether the message is; while it waits, the gateway asks again whenever the session sleeps."""
        if self.hybrid and self.is_as_asked() and self.on.session().status.host is None:
            self.ask()
        return self.is_as_asked() and self.on.says() == ("True", "Running")

    def until(self, done: Callable[[], bool], seconds: float = 1) -> None:
        """Let operator and world take turns, and time pass, until it is so."""
        for _ in range(80):
            if done():
                return
            look(self.on)
            obey(self.on, pool=self.pooled)
            asked_for = min(self.on.requeue or timedelta(), timedelta(minutes=5)).total_seconds()
            self.on.idle(max(seconds, 1.0) if self.is_as_asked() else max(1.0, asked_for))
        raise AssertionError(f"it does not come to rest: {self.on!r}")

    # What must hold

    @invariant()
    def at_most_one_own_pod_is_alive(self) -> None:
        assert len(alive(own_pods(self.on))) <= (0 if self.pooled else 1)

    @invariant()
    def nothing_is_removed_from_the_store_while_a_pod_may_write(self) -> None:
        assert not (alive(cleanup_pods(self.on)) and alive(own_pods(self.on)))

    @invariant()
    def numbers_only_grow(self) -> None:
        if self.is_there:
            status = self.on.session().status
            assert (status.wakes, status.restarts) >= self.numbers
            assert status.restarts >= self.numbers[1]
            self.numbers = status.wakes, status.restarts

    @invariant()
    def every_status_is_whole(self) -> None:
        body = self.on.world.peek(SESSIONS, *KEY)
        if body is None or not body.get("status", {}).get("conditions"):
            return
        status = self.on.session().status
        assert status.condition("Ready") is not None
        assert not (status.is_true("Reconciling") and status.is_true("Stalled"))
        assert kstatus(body) in ("InProgress", "Current", "Failed", "Terminating")
        assert not status.is_true("Active") or status.host is not None

    # Means

    @property
    def is_there(self) -> bool:
        return self.on.world.peek(SESSIONS, *KEY) is not None

    @property
    def is_going(self) -> bool:
        return self.on.session().metadata.deletion_timestamp is not None

    @property
    def hybrid(self) -> bool:
        return self.on.session().spec.pattern == "Hybrid"

    def a_pod(self) -> list[Json]:
        """Return the pod that the session is in, or one that it may come to be in."""
        pods = [pod for pod in self.on.world.pods() if pod not in cleanup_pods(self.on)]
        holders = [pod for pod in pods if UID in self.on.hosts.held.get(pod["metadata"]["uid"], {})]
        return [*holders, *pods][:1]

    def mend(self) -> None:
        self.on.hosts.refusal = None
        if self.pooled:
            self.on.world.put_template(sessionStore=self.store)
            put_pool_hosts(self.on)

    def is_as_asked(self) -> bool:
        """Return whether the session is where its user wants it to be."""
        if not self.is_there:
            return not own_pods(self.on) and not cleanup_pods(self.on)
        session = self.on.session()
        if self.is_going:
            return False
        ready, host = session.status.condition("Ready"), session.status.host
        if ready is None:
            return False
        if ready.reason == "Running":
            pods = [host_facts(pod) for pod in self.on.world.pods()]
            on_it = [pod for pod in pods if host and pod.uid == host.pod_uid and pod.ready and not pod.deleting]
            return bool(on_it) and not self.suspended and ready.status == "True"
        if not self.hybrid or own_pods(self.on) or host is not None:
            return False
        asked = session.status.last_request_time != session.status.answered_request_time
        if ready.reason == "Suspended":
            return self.suspended
        return (ready.reason == "Asleep" or ready.reason in WOKEN_IN_VAIN) and not (asked or self.suspended)

    def rests(self) -> bool:
        """Return whether it stays as it is, at no cost."""
        before = len(self.on.world.writes())
        for _ in range(3):
            look(self.on)
        return len(self.on.world.writes()) == before and self.is_as_asked()

    def at_request(self, number: int, moment: str, what: Callable[[], object]) -> None:
        """Reconcile, with something happening at a request, counted from 0."""
        with at_request(self.on.world, number, moment, what):
            look(self.on)


@pytest.mark.parametrize("others", ["ready", "none"])
def test_a_host_that_took_a_session_unheard_of_never_shares_its_number(others: str) -> None:
    on = a_stage("LongRunning", "Retain")
    look(on)
    on.world.around = crash_at(0, "before")
    look(on)
    on.world.around = lambda *_: None
    (first,) = (uid for uid, held in on.hosts.held.items() if UID in held)
    for pod in list(on.world.pods()):
        if others == "none" or pod["metadata"]["uid"] == first:
            on.lose(pod["metadata"]["name"])
    look(on)
    put_pool_hosts(on)
    on.hear()
    on.settle()
    assert on.says() == ("True", "Running")
    (old, new) = on.hosts.claims
    assert old[0] == first != new[0]
    assert new[1] > old[1]


TestLife = Life.TestCase
TestLife.settings = looking(150, steps=40)
