"""A node that is cut off until the cluster has given it up, while its pods live on; then it comes back."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from e2e import wires
from e2e.killing import cleared, cordoned
from e2e.waiting import eventually
from faults.arena import Arena
from faults.control import local

LOST_SECONDS = 240.0
"""The cluster takes 50 s to find that a node is lost; then nodeLossSeconds (10), the grace period, half a minute more,
and all sessions of the node start at a time on the other one."""
_GIVEN_UP_SECONDS = 240
_BESIDE_SECONDS = 15
"""How long the next pods have the conversations before the earlier ones can reach the store again."""


@contextmanager
def nothing_else_there(arena: Arena) -> Iterator[None]:
    """Have nothing but sessions on the node that will be lost: what all of them need is on the other one."""
    doomed = arena.doomed()
    if arena.store.node() != arena.provider.nodes()[0]:
        pytest.skip("the wire leaves the second node alone, and the store is there")
    with cordoned(arena.api, doomed):
        cleared(arena.api, doomed)
        arena.lab.operator.wait_ready()
    arena.open_again()
    yield


def node_lost(arena: Arena) -> None:
    """The wire is cut until no pod of a session is left there, by the API server; those that there are run on."""
    with wires.cut_off():
        eventually(arena.on_doomed, lambda uids: not uids, "the loss of all pods there", _GIVEN_UP_SECONDS)
        time.sleep(_BESIDE_SECONDS)
    local(arena).start_node(arena.doomed())  # nothing is to be started: it waits until the node is Ready
    arena.open_again()
