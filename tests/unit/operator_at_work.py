"""The operator in a made-up world: passes, crashes, and the time between them."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from agentsessions.api.base import Json
from agentsessions.api.config import OperatorConfig
from agentsessions.api.status import AgentSessionStatus
from agentsessions.kube.errors import KubeError
from agentsessions.kube.paths import PODS, SESSIONS
from agentsessions.reconcile.hastening import Agents
from agentsessions.reconcile.loop import Reconciler
from agentsessions.reconcile.observe import DeletedPods
from agentsessions.reconcile.refusals import Refusals
from unit.make import CONFIG, NAMESPACE, SessionMaker, make_session
from unit.world import WRITES, Crash, Request, World, attempt_of

KEY = (NAMESPACE, "hello")


def finish(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits for anything: the world answers at once."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the world made the operator wait")


@dataclass
class Operator:
    """The operator's process; `restart` is what is left of it after a crash."""

    world: World
    config: OperatorConfig = CONFIG
    deleted: DeletedPods = field(default_factory=DeletedPods)
    requeue: timedelta | None = None
    refusals: Refusals = field(default_factory=Refusals)
    agents: Agents | None = None

    def look(self) -> int:
        """Reconcile once; return the number of writes."""
        before = len(self.world.writes())
        clock = lambda: self.world.now  # noqa: E731
        memory = {"refusals": self.refusals, "agents": self.agents}
        reconciler = Reconciler(self.world, self.config, self.deleted, "test", clock, **memory)  # type: ignore[arg-type]
        self.requeue = finish(reconciler.reconcile(KEY))
        written = self.world.writes()[before:]
        assert sum((one.verb, one.plural) == ("PATCH", SESSIONS.plural) for one in written) <= 1, "one status a pass"
        return len(written)

    def try_to_look(self) -> None:
        """Reconcile once; errors of the API server are the queue's to retry, and a crash loses all memory."""
        try:
            self.look()
        except Crash:
            self.restart()
        except KubeError:
            self.requeue = timedelta(seconds=1)

    def settle(self) -> None:
        """Reconcile until there is nothing to do."""
        for _ in range(20):
            if not self.look():
                return
        raise AssertionError(f"the operator does not come to rest: {self.world.writes()[-6:]}")

    def hear(self) -> None:
        """Deliver what the watch has to say of deleted pods."""
        for body in self.world.deleted_pods:
            self.deleted.remember(body)
        self.world.deleted_pods.clear()

    def restart(self) -> None:
        """Start a new process, with no memory of the old one."""
        self.deleted, self.refusals, self.requeue = DeletedPods(), Refusals(), timedelta()
        self.world.deleted_pods.clear()


def start_world(maker: SessionMaker | None = None) -> tuple[World, Operator]:
    """Return a world with one session, and an operator for it."""
    world = World()
    world.add(SESSIONS, (maker or make_session()).json())
    return world, Operator(world)


def crash_at(number: int, when: str) -> Callable[[str, Request], None]:
    """Return a hook that kills the operator before or after a write, counted from 0.

    Writes are enough: to be killed around a read is to be killed before the next write, or after the last one.
    """
    count = 0

    def hook(moment: str, request: Request) -> None:
        nonlocal count
        if moment != when or request.verb not in WRITES:
            return
        count += 1
        if count == number + 1:
            raise Crash(f"{when} {request}")

    return hook


Script = dict[int, list[Json | str]]
"""What happens to the pod of each attempt, step by step: a status, or "vanish"."""


@dataclass
class Nodes:
    """Nodes that play a script."""

    world: World
    script: Script
    steps: dict[str, int] = field(default_factory=dict)

    def move(self) -> bool:
        """Let one thing happen; return whether anything did."""
        for pod in self.world.live_pods():
            todo, uid = self.script.get(attempt_of(pod), []), pod["metadata"]["uid"]
            done = self.steps.get(uid, 0)
            if done < len(todo):
                self.steps[uid] = done + 1
                self._do(pod, todo[done])
                return True
        return False

    def _do(self, pod: Json, step: Json | str) -> None:
        if isinstance(step, dict):
            self.world.set_pod(pod, step)
        else:
            self.world.remove(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])


def live(world: World, operator: Operator, nodes: Nodes) -> None:
    """Let operator and nodes take turns until neither has anything to do, skipping the time in between."""
    for _ in range(200):
        before = len(world.writes())
        operator.hear()
        operator.try_to_look()
        if len(world.writes()) > before or nodes.move():
            continue
        if operator.requeue is None:
            return
        world.now += max(operator.requeue, timedelta(seconds=1))
    raise AssertionError("this goes on for ever")


def essence(status: AgentSessionStatus) -> Json:
    """Return what of a status does not depend on clock, uids or chance."""
    out = status.model_dump(exclude={"start_time", "completion_time", "host"})
    for condition in out["conditions"]:
        del condition["last_transition_time"]
    if out["last_termination"]:
        for name in ("finished_at", "pod_uid", "node"):
            del out["last_termination"][name]
    return out
