"""A world that may turn against a session that lasts: everything that may happen to it, and how it comes to rest."""

from dataclasses import dataclass, field

from agentsessions.api.base import Json
from agentsessions.api.host import Activation, HostSession, Phase
from agentsessions.hosts.client import HostAddress
from agentsessions.hosts.errors import (
    Draining,
    Fenced,
    HostError,
    HostFull,
    Misdirected,
    Refused,
    StorageTrouble,
    TranscriptMissing,
    Unreachable,
)
from agentsessions.kube.errors import KubeError
from agentsessions.kube.paths import PODS
from agentsessions.policies.hosts import host_facts
from unit import kubelet
from unit.hybrid import NAME, STORE, UID, Stage, in_pool, make_nap, make_pooled, not_ready, serving, start
from unit.lasting import make_host_pod, make_talk
from unit.madeuphosts import Hosts
from unit.make import NAMESPACE
from unit.world import Crash, World

KINDS = ("own pod", "pool", "LongRunning")
POOL_HOSTS = ("chat-0", "chat-1")
REFUSALS: dict[str, HostError] = {
    "full": HostFull(507, "host-full", ""),
    "draining": Draining(503, "draining", ""),
    "missing": TranscriptMissing(409, "transcript-missing", ""),
    "truncated": TranscriptMissing(409, "transcript-truncated", ""),
    "diverged": TranscriptMissing(409, "transcript-diverged", ""),
    "store away": StorageTrouble(503, "store-unreachable", ""),
    "store refuses": StorageTrouble(409, "store-refused", "wrong password"),
    "archive": StorageTrouble(409, "archive-failed", "too large"),
    "fork source": StorageTrouble(409, "fork-source-missing", "there is none"),
    "misdirected": Misdirected(421, "misdirected", ""),
    "silent": Unreachable(0, "no-answer", ""),
    "odd": Refused(400, "invalid-request", "version 2"),
}
"""What a host may answer to a handover instead of taking the session."""

OWN_POD_STATES: dict[str, Json] = {
    "creating": kubelet.creating(),
    "pull fails": kubelet.creating("ErrImagePull"),
    "no node": kubelet.unschedulable(),
    "serving": serving(),
    "not ready": not_ready(),
    "evicted": kubelet.evicted(),
    "ended": kubelet.ended(1),
}
NEWS: dict[str, Json] = {
    "busy": {"idle_since": None, "phase": Phase.RUNNING},
    "failed": {"phase": Phase.FAILED},
    "failed, not stored": {"phase": Phase.FAILED, "durable": False, "store_problem": "StoreUnreachable"},
    "well": {"phase": Phase.IDLE, "durable": True, "store_problem": None},
    "store behind": {"durable": False, "store_problem": "StoreBehind"},
    "store away": {"durable": False, "store_problem": "StoreUnreachable"},
}


@dataclass
class StrictHosts(Hosts):
    """Hosts that are where their pods are, and a store that takes no claim below the last one.

    `claims` are the pods' uids and numbers of all claims; no two pods may ever claim with one number.
    """

    world: World = field(default_factory=World)
    claims: list[tuple[str, int]] = field(default_factory=list)

    async def activate(self, host: HostAddress, activation: Activation) -> HostSession:
        """Take a session, once its conversation is claimed."""
        self._reach(host)
        if self.refusal is not None:
            raise self.refusal
        self._claim(host.uid, activation.epoch or 0)
        told = await super().activate(host, activation)
        taken = told.model_copy(update={"put_away": False})  # one that was put away takes messages again
        self.held[host.uid][str(activation.session_id)] = taken
        return taken

    async def suspend(self, host: HostAddress, session_id: str, *, patient: bool) -> HostSession:
        """Begin to put a session away."""
        self._reach(host)
        return await super().suspend(host, session_id, patient=patient)

    async def delete(self, host: HostAddress, session_id: str, files: str, *, archive: bool = False) -> None:
        """Let go of a session."""
        self._reach(host)
        await super().delete(host, session_id, files, archive=archive)

    def _reach(self, host: HostAddress) -> None:
        ready = any(host_facts(pod).ready and pod["metadata"]["uid"] == host.uid for pod in self.world.pods())
        if not ready:
            raise Unreachable(0, "no-answer", "")

    def _claim(self, pod_uid: str, number: int) -> None:
        latest = max((known for _, known in self.claims), default=0)
        if number < latest:
            error = Fenced(409, "session-fenced", "")
            error.epoch = latest
            raise error
        others = [known for uid, known in self.claims if uid != pod_uid]
        assert number not in others, f"pod {pod_uid} claims with {number}, as another did: {self.claims}"
        self.claims.append((pod_uid, number))


def a_stage(kind: str, on_delete: str) -> Stage:
    """Return a stage with a new session of that kind."""
    store = STORE | {"onDelete": on_delete}
    if kind == "own pod":
        on = start(make_nap(sessionStore=store))
    else:
        on = in_pool(make_pooled() if kind == "pool" else make_talk(NAME, UID))
        on.world.put_template(sessionStore=store)
    on.hosts = StrictHosts(world=on.world)
    on.restart()
    on.hear()
    return on


def look(on: Stage) -> None:
    """Reconcile once; what the API server refuses is tried again later, and a crash loses all memory."""
    try:
        on.look()
    except Crash:
        on.restart()
    except KubeError:
        pass


def own_pods(on: Stage) -> list[Json]:
    """Return the pods in which the session itself lives or lived, by their names."""
    return [pod for pod in on.world.pods() if pod["metadata"]["name"].startswith(f"{NAME}-") and not _cleans(pod)]


def cleanup_pods(on: Stage) -> list[Json]:
    """Return the pod that removes what the session has stored, if it is there."""
    return [pod for pod in on.world.pods() if _cleans(pod)]


def _cleans(pod: Json) -> bool:
    return str(pod["metadata"]["name"]).endswith("-forget")


def alive(pods: list[Json]) -> list[Json]:
    """Return those that run or may yet run."""
    return [pod for pod in pods if pod["status"]["phase"] not in ("Succeeded", "Failed")]


def put_pool_hosts(on: Stage) -> None:
    """Let the StatefulSet make the hosts that are missing: of the same names, and with other uids."""
    for name in POOL_HOSTS:
        if on.world.peek(PODS, NAMESPACE, name) is None:
            body = make_host_pod(name, f"{name}-{len(on.world.requests)}")
            on.world.add(PODS, body)
            on.world.set_pod(on.world.objects[PODS, NAMESPACE, name], serving())


def obey(on: Stage, *, pool: bool) -> None:
    """Let everything outside of the operator do what it is there for."""
    on.end_pods()
    if pool:
        put_pool_hosts(on)
    for pod in list(on.world.pods()):
        if _cleans(pod):
            on.world.set_pod(pod, kubelet.ended(0))
        elif pod["status"]["phase"] in ("Succeeded", "Failed"):
            continue
        elif not host_facts(pod).ready:
            on.world.set_pod(pod, serving())
    present = {pod["metadata"]["uid"] for pod in on.world.pods()}
    on.hosts.held = {uid: held for uid, held in on.hosts.held.items() if uid in present}
    on.tell(**NEWS["well"])
    for held in on.hosts.held.values():
        if UID in held and held[UID].idle_since is None:
            held[UID] = held[UID].model_copy(update={"idle_since": on.world.now})
    on.stores()
    on.hear()
