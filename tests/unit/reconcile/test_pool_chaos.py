"""A pool, where anything may happen at any time: users, nodes, the StatefulSet's controller, crashes, lost answers.

What must hold, holds after every step; and once nothing is in the way, the pool is what its user asked for.
"""

from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from agentsessions.api.base import Json
from agentsessions.api.pool import AgentPool
from agentsessions.kube.errors import KubeError
from agentsessions.kube.paths import PODS, POOLS, STATEFUL_SETS, TEMPLATES
from agentsessions.reconcile.pools.loop import PoolReconciler
from agentsessions.reconcile.pools.rollout import template_hash
from unit import kubelet
from unit.examples import looking
from unit.hybrid import STORE, Stage, make_pooled, start
from unit.interrupted import NUMBERS, Interrupted, at_request
from unit.kstatus import kstatus
from unit.lasting import make_pool
from unit.make import CONFIG, NAMESPACE
from unit.operator_at_work import finish
from unit.statefulset import CANNOT_PULL, ENDS_AGAIN, Controller, node_acts
from unit.world import Crash

KEY = (NAMESPACE, "chat")
GOOD = [f"registry.example/agent:{number}" for number in range(3)]
LAST = "registry.example/agent:last"
REFUSED = ["PATCH statefulsets", "POST statefulsets", "POST secrets", "PATCH poddisruptionbudgets"]


class Life(Interrupted):
    """One pool in a hostile world."""

    on: Stage

    @initialize(
        replicas=st.integers(min_value=0, max_value=3),
        on_failure=st.sampled_from(["Rollback", "Pause"]),
        well=st.booleans(),
    )
    def begin(self, replicas: int, on_failure: str, well: bool) -> None:
        self.on = start(make_pooled())
        self.on.world.put_template(sessionStore=STORE, image=GOOD[0])
        rules = {"onFailure": on_failure, "progressDeadlineSeconds": 60}
        self.on.world.add(POOLS, make_pool(replicas, rollout=rules))
        self.controller = Controller(self.on.world)
        self.start_operator()
        self.spec = self.pool_body()["spec"]
        if well:
            self.all_goes_well_for_a_while()

    # The operator

    @rule()
    def start_operator(self) -> None:
        self.on.restart()
        self.reconciler = PoolReconciler(self.on.world, CONFIG, self.on.lasting, lambda: self.on.world.now)  # type: ignore[arg-type]
        self.asked_for: timedelta | None = None

    @rule()
    def look(self) -> None:
        before = self.status_writes()
        try:
            self.asked_for = finish(self.reconciler.reconcile(KEY))
        except Crash:
            self.start_operator()
        except KubeError:
            self.asked_for = timedelta(seconds=1)
        assert self.status_writes() - before <= 1, "one write of a pool in a pass"

    @rule(number=NUMBERS, what=st.sampled_from(["lose_a_host", "controller_acts", "nodes_act", "toggle_pause"]))
    def look_while_something_happens(self, number: int, what: str) -> None:
        self.at_request(number, "before", getattr(self, what))

    @rule()
    def hear(self) -> None:
        self.on.hear()

    @rule()
    def be_deaf(self) -> None:
        self.on.hosts.views.clear()

    @rule(seconds=st.sampled_from([1, 10, 61, 600, 3600]))
    def time_passes(self, seconds: int) -> None:
        self.on.idle(seconds)

    # Kubernetes and nodes

    @rule()
    def controller_acts(self) -> None:
        self.controller.act()

    @rule()
    def nodes_act(self) -> None:
        node_acts(self.on.world)

    @rule()
    def lose_a_host(self) -> None:
        for pod in list(self.on.world.pods())[:1]:
            self.on.world.remove(PODS, NAMESPACE, pod["metadata"]["name"])

    @rule()
    def drain_a_host(self) -> None:
        for pod in list(self.on.world.pods())[:1]:
            if "deletionTimestamp" not in pod["metadata"]:
                self.on.world.delete_gracefully(PODS, pod)

    @rule()
    def a_host_ends(self) -> None:
        for pod in list(self.on.world.pods())[-1:]:
            if pod["status"]["phase"] == "Running":
                self.on.world.set_pod(pod, kubelet.crash_loop(at=self.on.world.now, lived=5))

    @rule(what=st.sampled_from([*REFUSED, ""]))
    def api_server_refuses(self, what: str) -> None:
        self.on.world.refusals.clear()
        if what:
            self.on.world.refusals[what] = "a quota, or a policy"

    # Users

    @rule(image=st.sampled_from([*GOOD, CANNOT_PULL, ENDS_AGAIN]))
    def change_the_image(self, image: str) -> None:
        self.on.world.put_template(sessionStore=STORE, image=image)

    @rule()
    def take_the_template_away(self) -> None:
        if self.on.world.peek(TEMPLATES, NAMESPACE, "default"):
            self.on.world.remove(TEMPLATES, NAMESPACE, "default")

    @rule(replicas=st.integers(min_value=0, max_value=3))
    def scale(self, replicas: int) -> None:
        self.edit(replicas=replicas)

    @rule()
    def toggle_pause(self) -> None:
        rules = self.spec["rollout"]
        self.edit(rollout=rules | {"paused": not rules.get("paused", False)})

    @rule()
    def change_what_hosts_are_told(self) -> None:
        self.edit(maxQueuedMessages=self.spec.get("maxQueuedMessages", 8) + 1)

    @rule()
    def all_goes_well_for_a_while(self) -> None:
        for _ in range(4):
            self.look()
            self.obey()

    @rule()
    def nothing_else_happens(self) -> None:
        """In a world that stands still a few passes are enough, and one more writes nothing."""
        for _ in range(20):
            before = self.writes()
            self.look()
            if self.writes() == before:
                return
        if not self.on.world.refusals:  # what is refused is tried again whenever it is looked at
            raise AssertionError(f"it does not come to rest: {self.on.world.writes()[-6:]}")

    @rule(image=st.sampled_from([*GOOD, CANNOT_PULL, ENDS_AGAIN]))
    def all_is_calm_at_last(self, image: str) -> None:
        """Whatever is asked for, and whether it works or not: after a while no host is made or replaced any more."""
        self.on.world.refusals.clear()
        self.go_on(10, 30)
        self.change_the_image(image)
        self.go_on(20, 60)
        before = self.controller.serial
        self.go_on(12, 300)
        assert self.controller.serial == before, f"hosts come and go: {self.pool_body()['status']}"
        self.check_what_failed()

    def check_what_failed(self) -> None:
        """What was taken back is not tried again, and the hosts serve; where it is not taken back, none is replaced."""
        rollout = self.pool_body()["status"].get("rollout", {})
        if not rollout.get("failedRevision"):
            return
        good = [
            host for host in self.controller.hosts() if host.ready and host.template_hash == rollout["currentRevision"]
        ]
        wanted = self.spec["replicas"]
        if self.spec["rollout"].get("onFailure") == "Rollback":
            assert len(good) == wanted, f"not all hosts have their former settings back: {rollout}"
        else:
            assert len(good) >= wanted - 1, f"more than one host was given up: {rollout}"

    def go_on(self, times: int, seconds: float) -> None:
        """Let operator and world take turns."""
        for _ in range(times):
            self.look()
            self.obey()
            self.on.idle(seconds)

    def teardown(self) -> None:
        """Whatever happened, once nothing is in the way all hosts serve with the settings that were asked for last."""
        if not hasattr(self, "on"):
            return
        self.on.world.refusals.clear()
        self.on.world.put_template(sessionStore=STORE, image=LAST)
        self.edit(replicas=2, rollout={"progressDeadlineSeconds": 60})
        for _ in range(100):
            if self.is_as_asked():
                break
            self.look()
            self.obey()
            self.on.idle(max(1.0, min(self.asked_for or timedelta(minutes=1), timedelta(minutes=1)).total_seconds()))
        else:
            raise AssertionError(f"it does not come to rest: {self.pool_body()['status']}, {self.controller.hosts()}")
        before = self.writes()
        for _ in range(3):
            self.look()
        assert self.writes() == before, "it stays as it is, at no cost"

    # What must hold

    @invariant()
    def nobody_but_users_writes_what_is_asked_for(self) -> None:
        assert self.pool_body()["spec"] == self.spec

    @invariant()
    def every_status_is_whole(self) -> None:
        body = self.pool_body()
        if not body.get("status", {}).get("conditions"):
            return
        says = {one["type"]: one["status"] for one in body["status"]["conditions"]}
        assert "Ready" in says
        assert not says.get("Reconciling") == says.get("Stalled") == "True"
        assert kstatus(body) in ("InProgress", "Current", "Failed")

    @invariant()
    def what_failed_is_not_what_is_good(self) -> None:
        rollout = self.pool_body().get("status", {}).get("rollout", {})
        assert rollout.get("failedRevision") is None or rollout["failedRevision"] != rollout.get("currentRevision")

    @invariant()
    def no_more_hosts_than_anybody_asked_for(self) -> None:
        assert all(made["spec"]["replicas"] <= 3 for made in self.on.world.of(STATEFUL_SETS))

    # Means

    def pool_body(self) -> Json:
        return deepcopy(self.on.world.objects[POOLS, *KEY])

    def edit(self, **spec: object) -> None:
        self.on.world.edit(POOLS, "chat", **spec)
        self.spec = self.pool_body()["spec"]

    def writes(self) -> int:
        """Return how often the operator wrote; Secrets, which it cannot read, it tries to make while a host fails."""
        return sum((one.verb, one.plural) != ("POST", "secrets") for one in self.on.world.writes())

    def status_writes(self) -> int:
        return sum((one.verb, one.plural) == ("PATCH", POOLS.plural) for one in self.on.world.requests)

    def obey(self) -> None:
        """Let everything outside of the operator do what it is there for."""
        self.controller.act()
        node_acts(self.on.world)
        self.on.hear()

    def is_as_asked(self) -> bool:
        """Return whether all hosts that there should be serve with the settings of now, and the status says so."""
        body, sets = self.pool_body(), self.on.world.of(STATEFUL_SETS)
        if not sets or kstatus(body) != "Current":
            return False
        template = sets[0]["spec"]["template"]
        hosts = self.controller.hosts()
        current = [host.ready and host.template_hash == template_hash(template) for host in hosts]
        ready = AgentPool.model_validate(body).status.condition("Ready")
        is_new = template["spec"]["containers"][0]["image"] == LAST
        return is_new and current == [True, True] and ready is not None and ready.status == "True"

    def at_request(self, number: int, moment: str, what: Callable[[], object]) -> None:
        """Reconcile, with something happening at a request, counted from 0."""
        with at_request(self.on.world, number, moment, what):
            self.look()


TestLife = Life.TestCase
TestLife.settings = looking(80, steps=30)
