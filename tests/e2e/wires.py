"""Faults between machines: the wire between the nodes, and the operator's connections to the API server.

Only on the local cluster, whose nodes and pods are network namespaces of this machine. Each is a context manager that
undoes what it did.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from cluster.commands import run
from cluster.local import network, settings
from e2e.waiting import eventually

Words = Sequence[str]
_LINK = "eth0"
_ALONE = (("raw", "PREROUTING", "-i", _LINK, "-j", "DROP"), ("mangle", "POSTROUTING", "-o", _LINK, "-j", "DROP"))
_CONNECTION = re.compile(r"^\d+ +\d+ +\S+:(\d+) +\S+:443 *\n.*?\blastsnd:(\d+)", re.MULTILINE)
_STILL = 15_000
"""Milliseconds without a byte sent after which a connection is taken for a watch: the others renew the Lease."""


@contextmanager
def cut_off() -> Iterator[None]:
    """Cut the wire between the nodes, so that node1 is alone; what runs there runs on."""
    *_, node = settings.load().nodes
    with rules(network.inside(node.namespace), _ALONE):
        yield


@contextmanager
def frozen(pid: int) -> Iterator[int]:
    """Let nothing more arrive by the watches of a process's pod, without closing them; yields how many there were."""
    with network_of(pid) as inside:
        words = [*inside, "ss", "-Htni", "state", "established"]
        # A watch is known by its silence: one that has just been opened is not known yet.
        found = eventually(lambda: watches(run(words)), bool, "a watch that can be frozen", 60)
        silence = [("raw", "PREROUTING", "-p", "tcp", "--dport", str(port), "-j", "DROP") for port in found]
        with rules(inside, silence):
            yield len(found)


def watches(connections: str) -> list[int]:
    """Return the local ports of connections on which nothing but answers is sent, out of `ss -Htni`."""
    return [int(port) for port, silent in _CONNECTION.findall(connections) if int(silent) >= _STILL]


@contextmanager
def network_of(pid: int) -> Iterator[list[str]]:
    """Yield the words that make a command run in the network of a process, also when that has ended meanwhile."""
    held = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        yield ["nsenter", f"--net=/proc/{os.getpid()}/fd/{held}"]
    finally:
        os.close(held)


@contextmanager
def rules(inside: Words, added: Sequence[Words]) -> Iterator[None]:
    """Have rules of iptables before all others, each given as a table, a chain and the rest."""
    with ExitStack() as undo:
        for table, chain, *rest in added:
            run([*inside, "iptables", "-t", table, "-I", chain, *rest])
            undo.callback(run, [*inside, "iptables", "-t", table, "-D", chain, *rest])
        yield
