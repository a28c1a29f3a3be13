"""Faults of the control plane: of the API server, of what the operator hears of it, and of who leads."""

import signal
import time

from cluster.local.provider import LocalProvider
from e2e import wires
from e2e.api import LEASES
from e2e.killing import kill_process, process_of
from e2e.leadership import holder, leader
from e2e.operator_pod import NAMESPACE, RELEASE
from e2e.sizes import THOROUGH
from e2e.waiting import eventually, wait_for
from faults import clocks, errors
from faults.arena import Arena

CUT_SECONDS = 15
"""How long a node is alone: less than it takes the cluster to give it up."""


def local(arena: Arena) -> LocalProvider:
    """Return the provider, for faults that only the local cluster can have."""
    assert isinstance(arena.provider, LocalProvider)
    return arena.provider


def api_server_killed(arena: Arena) -> None:
    """The API server ends and is started again; ways through it end with it, and are opened anew."""
    arena.lab.witness.may_miss += 1
    with arena.lab.operator.dawn():
        local(arena).restart_component("kube-apiserver")
        arena.open()


def etcd_killed(arena: Arena) -> None:
    """The API server's store ends and is started again."""
    local(arena).restart_component("etcd")


def node_cut_off(arena: Arena) -> None:
    """The wire between the nodes is cut for a while; what runs on either side runs on."""
    with wires.cut_off():
        time.sleep(CUT_SECONDS)
    arena.open()


def watches_frozen(arena: Arena) -> float:
    """Watches say nothing any more, and stay open, until the round is over."""
    for process in _clients(arena):
        arena.undo.enter_context(wires.frozen(process))
    return time.monotonic()


def calls_failing(arena: Arena) -> float:
    """A tenth of the calls to the API are answered with 429 or 500, until the round is over."""
    for process in _clients(arena):
        arena.undo.enter_context(errors.between(process))
    return time.monotonic()


def leader_frozen(arena: Arena) -> float:
    """The operator that leads is frozen until the other one does, and then goes on in the belief that it leads."""
    pod = leader(arena.api)
    name = pod["metadata"]["name"]
    assert kill_process(arena.provider, pod, sign=signal.SIGSTOP)
    struck = time.monotonic()
    try:
        wait_for(arena.api, LEASES, NAMESPACE, RELEASE, lambda one: holder(one) not in ("", name), "another leader")
    finally:
        kill_process(arena.provider, pod, sign=signal.SIGCONT)
    return struck


def clock_stepped(arena: Arena) -> float:
    """The clock of the operator that leads is set by five minutes: forward, and back when it is its turn again.

    In a thorough run those of the gateways as well.
    """
    pod = leader(arena.api)
    off, name = clocks.step(pod, "operator"), str(pod["metadata"]["name"])
    eventually(
        lambda: arena.lab.operator.metrics(name),
        lambda samples: clocks.is_ahead(samples, off),
        f"the operator's clock, ahead by {off} s",
    )
    struck = time.monotonic()
    for other in clocks.directories(arena.api) if THOROUGH else []:
        clocks.step(other, "directory")
    return struck


def _clients(arena: Arena) -> list[int]:
    """Return the processes that ask the API: of the operator, and in a thorough run of the gateways."""
    gateways = [process_of(pod, "directory") for pod in clocks.directories(arena.api) if THOROUGH]
    found = [process_of(arena.lab.operator.pod()), *gateways]
    assert None not in found, "no process of it on this machine"
    return [one for one in found if one is not None]
