"""A Hybrid session in a made-up world: pods that obey, hosts without a network, a gateway that asks, an operator."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from agentsessions.api.base import API_VERSION, Json
from agentsessions.api.config import Gateway, OperatorConfig
from agentsessions.api.host import HostSession
from agentsessions.api.names import GATEWAY_FIELD_MANAGER, pod_name
from agentsessions.api.session import AgentSession
from agentsessions.api.status import Termination
from agentsessions.hosts.views import HostView
from agentsessions.kube.paths import CORE_EVENTS, EVENTS, PODS, POOLS, SESSIONS
from agentsessions.policies.hosts import host_facts
from agentsessions.reconcile.admission import Admission
from agentsessions.reconcile.longrunning.driver import LongRunning
from agentsessions.reconcile.longrunning.hostwatch import live_hosts
from agentsessions.reconcile.loop import Reconciler
from agentsessions.reconcile.observe import DeletedPods
from agentsessions.reconcile.refusals import Refusals
from unit import kubelet
from unit.lasting import make_host_pod, make_pool
from unit.madeuphosts import Hosts
from unit.make import NAMESPACE, NOW, SessionMaker, stamp
from unit.operator_at_work import finish
from unit.world import Crash, World

UID = "22222222-2222-4222-8222-222222222222"
NAME = "nap"
KEY = (NAMESPACE, NAME)
CONFIG = OperatorConfig(gateway=Gateway(enabled=True))
STORE: Json = {"type": "Redis", "secretRef": {"name": "redis"}}
TIMEOUT = 300


def make_nap(uid: str = UID, **spec: object) -> SessionMaker:
    """Start with the smallest Hybrid session."""
    meta = {"name": NAME, "namespace": NAMESPACE, "uid": uid, "generation": 1, "creationTimestamp": stamp(NOW)}
    body = {"pattern": "Hybrid", "sessionStore": STORE, "idleTimeoutSeconds": TIMEOUT} | spec
    return SessionMaker({"apiVersion": API_VERSION, "kind": "AgentSession", "metadata": meta, "spec": body})


def make_pooled(**spec: object) -> SessionMaker:
    """Start with one that wakes on a host of a pool, whose template has the store."""
    maker = make_nap(**{"poolRef": {"name": "chat"}} | spec)
    del maker.body["spec"]["sessionStore"]
    return maker


def own_pod(number: int) -> str:
    """Return the name of the pod of a wake."""
    return pod_name(NAME, UID, number)


def serving() -> Json:
    """The host in the pod takes sessions."""
    return kubelet.running() | {"podIP": "10.0.0.9", "conditions": [{"type": "Ready", "status": "True"}]}


def not_ready() -> Json:
    """The host in the pod starts anew."""
    return kubelet.running() | {"podIP": "10.0.0.9", "conditions": [{"type": "Ready", "status": "False"}]}


@dataclass(repr=False)
class Stage:
    """Everything in one hand."""

    world: World = field(default_factory=World)
    hosts: Hosts = field(default_factory=Hosts)
    config: OperatorConfig = CONFIG
    requeue: timedelta | None = None
    called: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def __repr__(self) -> str:
        pods = [
            (pod["metadata"]["name"], pod["status"], pod["metadata"].get("deletionTimestamp"))
            for pod in self.world.pods()
        ]
        held = {uid: list(sessions.values()) for uid, sessions in self.hosts.held.items()}
        return (
            f"Stage(status={self.session().status.to_json()}, pods={pods}, held={held}, heard={list(self.hosts.views)})"
        )

    def restart(self) -> None:
        """Start the operator anew, with no memory of what was."""
        self.hosts.views.clear()
        self.lasting = LongRunning(self.world, self.config, self.hosts, self.hosts)  # type: ignore[arg-type]
        self.lasting.clock = lambda: self.world.now.timestamp()
        self.lasting.admission = Admission(self.config.admission, self.called.append, self.lasting.clock)
        self.refusals = Refusals()
        finish(self.lasting.admission.fill(self.world, []))  # type: ignore[arg-type]

    def look(self) -> int:
        """Reconcile once; return the number of writes."""
        before = len(self.world.writes())
        clock, admission = lambda: self.world.now, self.lasting.admission
        memory = self.lasting, admission, self.refusals
        reconciler = Reconciler(self.world, self.config, DeletedPods(), "test", clock, *memory)  # type: ignore[arg-type]
        written = self.status_writes()
        self.requeue = finish(reconciler.reconcile(KEY))
        assert self.status_writes() - written <= 1, "one write of a session in a pass"
        return len(self.world.writes()) - before

    def try_to_look(self) -> None:
        """Reconcile once; one that is killed in the middle is started anew."""
        try:
            self.look()
        except Crash:
            self.restart()

    def settle(self) -> int:
        """Reconcile until there is nothing to do; return the number of writes."""
        total = 0
        for _ in range(20):
            written = self.look()
            total += written
            if not written:
                return total
        raise AssertionError(f"the operator does not come to rest: {self.world.writes()[-6:]}")

    def trouble(self, seconds: float) -> int:
        """Reconcile for so long, as often as the operator asks for; return the number of status writes."""
        end, before, looks = self.world.now + timedelta(seconds=seconds), self.status_writes(), 0
        while self.world.now < end:
            self.look()
            assert self.requeue is not None, "nobody else brings it back"
            self.world.now += max(self.requeue, timedelta(seconds=1))
            looks += 1
        assert looks <= 20 + seconds / 60, "with growing pauses"
        return self.status_writes() - before

    def status_writes(self) -> int:
        """Return how often the operator wrote the session's status."""
        return sum((r.verb, r.plural) == ("PATCH", SESSIONS.plural) for r in self.world.requests)

    def ask(self) -> None:
        """Let the gateway ask for the session."""
        text = self.world.now.isoformat(timespec="microseconds").replace("+00:00", "Z")
        patch = {"metadata": {"uid": self.session().metadata.uid}, "status": {"lastRequestTime": text}}
        around, self.world.around = self.world.around, lambda when, request: None  # a crash is the operator's
        finish(self.world.merge(SESSIONS, *KEY, patch, manager=GATEWAY_FIELD_MANAGER, subresource="status"))
        self.world.around = around
        self.world.requests.pop()  # the gateway's; those that are counted are the operator's

    def start_pods(self) -> None:
        """Let nodes start what waits, and the hosts in there serve."""
        for pod in self.world.live_pods():
            if "deletionTimestamp" not in pod["metadata"] and not host_facts(pod).ready:
                self.world.set_pod(pod, serving())
        self.hear()

    def end_pods(self) -> None:
        """Let nodes end what is to be deleted."""
        for pod in list(self.world.pods()):
            if "deletionTimestamp" in pod["metadata"]:
                self.lose(pod["metadata"]["name"])

    def lose(self, name: str) -> None:
        """Take a pod away at once."""
        body = self.world.peek(PODS, NAMESPACE, name)
        assert body is not None
        self.hosts.held.pop(body["metadata"]["uid"], None)
        self.world.remove(PODS, NAMESPACE, name)
        self.hear()

    def hear(self) -> None:
        """Let the operator hear all hosts that there are."""
        known = finish(live_hosts(self.world, []))  # type: ignore[arg-type]
        self.hosts.views = {
            one.uid: HostView(
                one,
                connected=True,
                heard=True,
                capacity=10,
                draining=one.uid in self.hosts.draining,
                sessions=dict(self.hosts.held.get(one.uid, {})),
            )
            for one in known
        }

    def tell(self, **news: object) -> None:
        """Let the session's host tell something of it."""
        for held in self.hosts.held.values():
            if UID in held:
                whole = held[UID].model_dump() | news
                held[UID] = HostSession.model_validate(whole)
        self.hear()

    def stop_host(self, uid: str, *, at_work: bool = False) -> None:
        """Let a kubelet stop the host in that pod, and nobody delete the pod; the session may be `at_work`."""
        self.hosts.draining.add(uid)
        self.tell(put_away=True, stopped_at_work=at_work)

    def kubelet_posts(self, reason: str, message: str, time: datetime) -> None:
        """Let the kubelet post an event about the session's only pod."""
        (pod,) = self.world.pods()
        self.world.add(CORE_EVENTS, kubelet.event(pod, reason, message, time))

    def taint_manager_posts(self, message: str = kubelet.MARKED) -> None:
        """Let the taint manager post an event about the session's only pod, as it does: without a uid."""
        (pod,) = self.world.pods()
        event = kubelet.event(pod, "TaintManagerEviction", message, self.world.now)
        del event["involvedObject"]["uid"]
        self.world.add(CORE_EVENTS, event)

    def asked_for_events(self) -> int:
        """Return how often events were listed."""
        return sum((one.verb, one.plural) == ("LIST", CORE_EVENTS.plural) for one in self.world.requests)

    def stores(self) -> None:
        """Let hosts finish what they were asked to put away."""
        if self.hosts.asked:
            self.hosts.asked.clear()
            self.tell(put_away=True)

    def wake(self) -> None:
        """Wake the session, to the end."""
        self.ask()
        self.settle()
        self.start_pods()
        self.settle()
        self.hear()
        self.settle()

    def session(self) -> AgentSession:
        """Return the session."""
        return self.world.session(NAME)

    def last_end(self) -> Termination:
        """Return what status tells of how the session's host ended last; it has to tell something."""
        last = self.session().status.last_termination
        assert last is not None
        return last

    def says(self, kind: str = "Ready") -> tuple[str, str]:
        """Return status and reason of a condition."""
        found = self.session().status.condition(kind)
        assert found is not None, kind
        return found.status, found.reason

    def message(self, kind: str = "Ready") -> str:
        """Return the message of a condition."""
        found = self.session().status.condition(kind)
        assert found is not None, kind
        return found.message

    def events(self) -> list[str]:
        """Return the reasons of the events that were posted."""
        return [str(body["reason"]) for body in self.world.of(EVENTS)]

    def pods(self) -> list[str]:
        """Return the names of the pods that are there to stay."""
        return [pod["metadata"]["name"] for pod in self.world.pods() if "deletionTimestamp" not in pod["metadata"]]

    def deletions(self) -> int:
        """Return how many pods were deleted."""
        return sum((request.verb, request.plural) == ("DELETE", "pods") for request in self.world.requests)

    def idle(self, seconds: float) -> None:
        """Let time go by."""
        self.world.now += timedelta(seconds=seconds)


def start(maker: SessionMaker | None = None, **change: object) -> Stage:
    """Return a stage with one session."""
    on = replace(Stage(), **change)  # type: ignore[arg-type]
    on.world.add(SESSIONS, (maker or make_nap()).json())
    return on


def awake(maker: SessionMaker | None = None) -> Stage:
    """Return a stage whose session runs in its first pod."""
    on = start(maker)
    on.settle()
    on.wake()
    assert on.says() == ("True", "Running")
    return on


def sleep(on: Stage) -> None:
    """Let the session be idle until it is put away."""
    on.idle(TIMEOUT)
    on.look()
    on.stores()
    on.settle()
    on.end_pods()
    on.settle()


def in_pool(maker: SessionMaker | None = None, replicas: int = 2, **pool: object) -> Stage:
    """Return a stage with a pool, whose template has the store, and a session that wakes on its hosts."""
    on = start(maker or make_pooled())
    on.world.put_template(sessionStore=STORE)
    on.world.add(POOLS, make_pool(replicas, **pool))
    for number in range(replicas):
        on.world.add(PODS, make_host_pod(f"chat-{number}", f"pod-uid-{number}"))
        on.world.objects[PODS, NAMESPACE, f"chat-{number}"]["status"] = serving()
    on.hear()
    return on
