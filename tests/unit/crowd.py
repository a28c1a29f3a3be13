"""Many sessions in a made-up world, one operator that gives them their turns, and nodes that do as they are told."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from agentsessions.api.base import Json
from agentsessions.api.config import Admission as Rules
from agentsessions.api.config import Bounds
from agentsessions.api.names import LABEL_SESSION
from agentsessions.api.session import AgentSession
from agentsessions.api.status import Queue
from agentsessions.kube.errors import KubeError
from agentsessions.kube.paths import SESSIONS
from agentsessions.reconcile.admission import Admission
from agentsessions.reconcile.loop import Reconciler
from agentsessions.reconcile.observe import DeletedPods
from unit import kubelet
from unit.make import CONFIG, NAMESPACE, make_session
from unit.operator_at_work import finish
from unit.world import Crash, World

Key = tuple[str, str]


def rules(running: int = 0, waking: int = 0, of_all: int = 0) -> Rules:
    """Return bounds."""
    return Rules(waking=of_all, per_namespace=Bounds(running=running, waking=waking))


@dataclass
class Crowd:
    """Everything in one hand; `due` are the sessions that are to be looked at, `later` those that have asked for it."""

    rules: Rules
    world: World = field(default_factory=World)
    due: list[Key] = field(default_factory=list)
    later: dict[Key, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start the operator anew: all it knows is what it lists, and it looks at every session in any order."""
        self.due.clear()
        self.later.clear()
        self.admission = Admission(self.rules, self.due.append, lambda: self.world.now.timestamp())
        finish(self.admission.fill(self.world, []))  # type: ignore[arg-type]
        self.due[:] = sorted({(NAMESPACE, body["metadata"]["name"]) for body in self.world.of(SESSIONS)}, reverse=True)

    def add(self, name: str, number: int, **spec: object) -> None:
        """Let a user make a session."""
        body = make_session(name).with_meta(uid=str(UUID(int=number))).with_spec(**spec).json()
        self.world.add(SESSIONS, body)
        self.due.append((NAMESPACE, name))

    def settle(self) -> None:
        """Look at sessions until nobody asks for it, but for later."""
        for _ in range(1000):
            if not self.due:
                return
            self.look(self.due.pop(0))
        raise AssertionError(f"the operator does not come to rest: {self.world.writes()[-6:]}")

    def look(self, key: Key) -> None:
        """Look at one session; what goes wrong brings it back later, and a crash costs the operator its memory."""
        work = Reconciler(self.world, CONFIG, DeletedPods(), "test", self.time, None, self.admission)  # type: ignore[arg-type]
        try:
            wait = finish(work.reconcile(key))
        except Crash:
            self.restart()
            return
        except KubeError:
            wait = timedelta(seconds=1)
        self.later.pop(key, None)
        if wait is not None:
            self.later[key] = self.world.now + wait

    def time(self) -> datetime:
        """Return the time."""
        return self.world.now

    def wait(self, seconds: float) -> None:
        """Let time go by, and look at every session when it asked for it."""
        end = self.world.now + timedelta(seconds=seconds)
        while soon := [(when, key) for key, when in self.later.items() if when <= end]:
            when, key = min(soon)
            self.world.now = max(self.world.now, when)
            del self.later[key]
            self.due.append(key)
            self.settle()
        self.world.now = end

    def pod(self, name: str) -> Json:
        """Return a session's pod that lives."""
        (found,) = [pod for pod in self.world.live_pods() if pod["metadata"]["labels"][LABEL_SESSION] == name]
        return found

    def report(self, name: str, status: Json) -> None:
        """Let a node report of a session's pod, and the operator hear it."""
        self.world.set_pod(self.pod(name), status)
        self.due.append((NAMESPACE, name))
        self.settle()

    def remove(self, name: str) -> None:
        """Let a user delete a session; the garbage collector takes its pods."""
        uid = self.session(name).metadata.uid
        self.world.remove(SESSIONS, NAMESPACE, name)
        self.admission.drop((NAMESPACE, name), uid)
        self.due.append((NAMESPACE, name))
        self.settle()

    def session(self, name: str) -> AgentSession:
        """Return a session."""
        return self.world.session(name)

    def reason(self, name: str) -> str:
        """Return the reason of Ready."""
        ready = self.session(name).status.condition("Ready")
        return ready.reason if ready is not None else ""

    def queue(self, name: str) -> Queue:
        """Return where a session stands in line, as its status says."""
        found = self.session(name).status.queue
        assert found is not None
        return found

    def alive(self) -> list[str]:
        """Return the sessions that have a pod which runs or may yet run."""
        return sorted(pod["metadata"]["labels"][LABEL_SESSION] for pod in self.world.live_pods())

    def status_writes(self, name: str) -> int:
        """Return how often a session's status was written."""
        return sum((r.verb, r.plural, r.name) == ("PATCH", SESSIONS.plural, name) for r in self.world.requests)

    def finish_one(self) -> str:
        """Let the agent of some pod come to its end; return its session."""
        name = self.alive()[0]
        self.report(name, kubelet.running(at=self.world.now))
        self.report(name, kubelet.ended(0, at=self.world.now))
        return name


def crowd(count: int, bounds: Rules, **spec: object) -> Crowd:
    """Return a crowd of so many sessions `s0`, `s1` and so on, made one after the other, all looked at."""
    out = Crowd(bounds)
    for number in range(count):
        out.add(f"s{number}", number + 1, **spec)
        out.settle()
        out.world.now += timedelta(seconds=1)
    return out
