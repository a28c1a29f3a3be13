"""The faults: the rows of the matrix. Each says whether there was something to strike at."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from e2e.api import NODES, PODS, ApiError
from e2e.killing import cordoned, end_operator, has_died, kill_process, refusal
from e2e.leadership import two_replicas
from e2e.operator_pod import NAMESPACE
from e2e.terminal import CommandFailed
from e2e.waiting import eventually
from faults import clocks, control, losing, room, versions
from faults.arena import Arena
from faults.control import local
from faults.story import DISK_MEGABYTES, Story

CONVERGED_SECONDS = 90.0
"""Longest time from a fault until a session has done what it was at, on a machine that does much else meanwhile."""
HAMPERED_SECONDS = 140.0
"""The same where the operator's calls are what fails: it pauses after errors, and mends a silent watch after 70 s."""
_GOING_AWAY = {"key": "agentsessions.test/going-away", "effect": "NoExecute"}
DARK_SECONDS = 10
"""How long a node is without power, or its kubelet does not run."""
FULL_SECONDS = 20
"""How long nothing can be written on a node's volumes: a pod that is made for a volume is there in half of that."""
EVICTED_SECONDS = 150
"""Within which a kubelet has found what a pod uses of its disk: it measures volumes once a minute."""

_EVICTED, _DELETED = frozenset({"Evicted"}), frozenset({"PodStopped", "HostLost"})
_KILLED, _CLI = frozenset({"HostCrashed"}), frozenset({"CLIFailed"})
_LOST = frozenset({"NodeLost"})
_DISK = frozenset({"EphemeralStorageExceeded"})


@dataclass(frozen=True)
class Strike:
    """A fault: of one session's own pod, or of something that all sessions share. `around`: what it needs to be made.

    `local`: only where nodes are processes of this machine. `node`: it hits who is on that node. `cuts`: it may cut a
    turn; where it may not, each turn has to come to its end. `moves`: hosts go, though turns may end first. `reach`:
    whether there is something of a session's own to strike at. `seconds`: the longest time until a session has done
    what it was at. `volume`: sessions have one. `own` says whether it struck, or when, by the pod's clock in seconds.
    `shared` says when it did (monotonic), if that was not at once.
    `repeats`: it lasts until a CLI that cannot reach the model asks again, once it can.
    `brief`: what it strikes at is gone within a fraction of a second once its session is put away.
    `reasons`: by one of them `lastTermination` tells anew afterwards how the session's host ended, where it is known.
    """

    name: str
    slug: str
    own: Callable[[Arena, Story], bool | float] | None = None
    shared: Callable[[Arena], float | None] | None = None
    around: Callable[[Arena], AbstractContextManager[None]] | None = None
    local: bool = False
    node: bool = False
    cuts: bool = True
    moves: bool = False
    reach: Callable[[Story], object] = Story.pod
    seconds: float = CONVERGED_SECONDS
    volume: bool = False
    reasons: frozenset[str] = frozenset()
    brief: bool = False
    repeats: bool = False

    @property
    def ends_hosts(self) -> bool:
        """Whether sessions go on in another pod, or another process: each time that takes them longer."""
        return self.cuts or self.moves


def _pod_deleted(arena: Arena, story: Story) -> bool:
    pod = story.pod()
    try:
        if pod:
            arena.api.delete(PODS, arena.lab.namespace, pod, gracePeriodSeconds=0)
    except ApiError:  # it is gone already
        return False
    return bool(pod)


def _pod_evicted(arena: Arena, story: Story) -> bool:
    pod = story.pod()
    return bool(pod) and _evict(arena, pod)


def _evict(arena: Arena, pod: str) -> bool:
    """Evict a pod; False if it is gone already, or may not be disrupted."""
    return refusal(arena.api, arena.lab.namespace, pod) == 0


def _host_killed(arena: Arena, story: Story) -> bool:
    return _in_pod(story, "pkill -9 -f '[a]gentrunner serve'")


def _cli_killed(arena: Arena, story: Story) -> float:
    told = said_in_pod(story, "date +%s.%N; pkill -9 -f '[_]bundled/claude'")
    return float(told) if told else 0.0


def _in_pod(story: Story, command: str) -> bool:
    return said_in_pod(story, command) is not None


def said_in_pod(story: Story, command: str) -> str | None:
    """Return what a command in the session's pod said, None if there is no such pod or the command failed."""
    if not story.runs():
        return None
    try:
        return story.stage.lab.execute(story.pod(), "sh", "-c", command)
    except CommandFailed:
        return None


def _disk_filled(arena: Arena, story: Story) -> bool:
    """More is written into the workspace than the session may have: the kubelet evicts its pod, once it has looked."""
    pod = story.pod()
    if not _in_pod(story, f"head -c {2 * DISK_MEGABYTES}M /dev/zero > /workspace/filled"):
        return False
    eventually(lambda: story.lost(pod), bool, "its eviction", EVICTED_SECONDS)
    return True


def _store_killed(arena: Arena) -> None:
    arena.store.kill()


def _operator_killed(arena: Arena) -> None:
    end_operator(arena.lab.operator, arena.api, arena.provider)


def _envoy_killed(arena: Arena) -> None:
    _gateway_killed(arena, "envoy")


def _directory_killed(arena: Arena) -> None:
    _gateway_killed(arena, "directory")


def _gateway_killed(arena: Arena, container: str) -> None:
    """Kill the process of a gateway's container: of the one through which everybody talks first.

    One that has died before loses its whole pod, without grace.
    """
    pod = arena.api.get(PODS, NAMESPACE, next(iter(arena.stage.gateway.urls)))
    assert pod is not None
    name = pod["metadata"]["name"]
    if has_died(pod):
        arena.api.delete(PODS, NAMESPACE, name, gracePeriodSeconds=0)
        return
    assert kill_process(arena.provider, pod, container), f"no process of {container} in {name}"


def _node_lost_power(arena: Arena) -> None:
    """Everything on a node ends at once; the node is started again after a while."""
    provider, node = local(arena), arena.doomed()
    provider.stop_node(node)
    time.sleep(DARK_SECONDS)
    provider.start_node(node)


def _kubelet_stopped(arena: Arena) -> None:
    """The kubelet of a node ends, and is started again after a while; the pods run on meanwhile."""
    provider, node = local(arena), arena.doomed()
    provider.stop_component(f"{node}-kubelet")
    time.sleep(DARK_SECONDS)
    provider.start_node(node)


def _volumes_full(arena: Arena) -> None:
    """On a node's volumes nothing can be written for a while."""
    room.fill(local(arena), arena.doomed(), FULL_SECONDS)


def _drained(arena: Arena) -> None:
    """A node is cordoned, every session's pod on it evicted, and the node given back."""
    node = arena.doomed()
    with cordoned(arena.api, node):
        for pod in arena.api.list(PODS, arena.lab.namespace, fieldSelector=f"spec.nodeName={node}"):
            _evict(arena, str(pod["metadata"]["name"]))
        time.sleep(DARK_SECONDS)


def _tainted(arena: Arena) -> None:
    """A node gets a taint that nobody tolerates, as before a cloud takes its machine back: all its pods are evicted."""
    node = arena.doomed()
    found = arena.api.get(NODES, None, node)
    assert found is not None
    before = found["spec"].get("taints", [])
    arena.api.patch(NODES, None, node, {"spec": {"taints": [*before, _GOING_AWAY]}})
    time.sleep(DARK_SECONDS)
    arena.api.patch(NODES, None, node, {"spec": {"taints": before or None}})
    arena.open_again()  # all gateways may have been there


STRIKES = (
    Strike("pod deleted without grace", "pod-deleted", own=_pod_deleted, reasons=_DELETED),
    Strike("pod evicted", "pod-evicted", own=_pod_evicted, reasons=_EVICTED, cuts=False, moves=True),
    Strike("session host killed", "host-killed", own=_host_killed, reach=Story.runs, reasons=_KILLED),
    Strike("CLI killed", "cli-killed", own=_cli_killed, reach=Story.runs, reasons=_CLI, brief=True),
    Strike("disk filled", "disk-filled", own=_disk_filled, reach=Story.runs, reasons=_DISK),
    Strike("store killed", "store-killed", shared=_store_killed, cuts=False),
    Strike("operator killed", "operator-killed", shared=_operator_killed, cuts=False),
    Strike("Envoy of a gateway killed", "envoy-killed", shared=_envoy_killed, cuts=False),
    Strike("directory of a gateway killed", "directory-killed", shared=_directory_killed, cuts=False),
    Strike(
        "no space left on the volumes",
        "volumes-full",
        shared=_volumes_full,
        around=lambda arena: room.small(local(arena), arena.doomed()),
        local=True,
        node=True,
        volume=True,
    ),
    Strike("node drained", "node-drained", shared=_drained, node=True, reasons=_EVICTED, cuts=False, moves=True),
    Strike(
        "node tainted NoExecute",
        "node-tainted",
        shared=_tainted,
        node=True,
        reasons=_EVICTED,
        cuts=False,
        moves=True,
    ),
    Strike("kubelet stopped", "kubelet-stopped", shared=_kubelet_stopped, local=True, node=True, cuts=False),
    Strike("node without power for a while", "power-cut", shared=_node_lost_power, local=True, node=True),
    Strike("node cut off for a while", "cut-off", shared=control.node_cut_off, local=True, node=True),
    Strike(
        "node cut off until it is lost",
        "node-lost",
        shared=losing.node_lost,
        around=losing.nothing_else_there,
        local=True,
        node=True,
        seconds=losing.LOST_SECONDS,
        reasons=_LOST,
        repeats=True,
    ),
    Strike("API server killed", "apiserver-killed", shared=control.api_server_killed, local=True, cuts=False),
    Strike("etcd killed", "etcd-killed", shared=control.etcd_killed, local=True, cuts=False),
    Strike(
        "watches frozen",
        "watches-frozen",
        shared=control.watches_frozen,
        local=True,
        cuts=False,
        seconds=HAMPERED_SECONDS,
    ),
    Strike(
        "a tenth of API calls fail",
        "calls-failing",
        shared=control.calls_failing,
        local=True,
        cuts=False,
        seconds=HAMPERED_SECONDS,
    ),
    Strike(
        "leader frozen, two lead",
        "leader-frozen",
        shared=control.leader_frozen,
        around=lambda arena: two_replicas(arena.lab),
        local=True,
        cuts=False,
    ),
    Strike(
        "clocks set by five minutes",
        "clock-stepped",
        shared=control.clock_stepped,
        around=clocks.settable,
        local=True,
        cuts=False,
    ),
    Strike(
        "lead passed between an older operator and this one",
        "older-operator",
        shared=versions.lead_passed_on,
        around=versions.older_beside,
        cuts=False,
    ),
)
