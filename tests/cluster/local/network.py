"""The nodes' network namespaces and the wires between host, node0 and node1. Nothing here leads out of the machine.

Only node0 has a link to the host, so that kubectl works from there; no namespace has a default route, and pods may
not use that link at all.
"""

import ipaddress
import json
from pathlib import Path

from cluster.commands import run, succeeds
from cluster.errors import ClusterError
from cluster.local.settings import LINK_VARIABLE, POD_RANGE, SERVICE_RANGE, WIRE, Settings

NAMESPACES = Path("/run/netns")
# IPv6 is off because the policy engine is told to leave it alone: a link-local address would be a way around it.
SYSCTLS = (
    "net.ipv4.ip_forward=1",
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0",
    "net.ipv6.conf.all.disable_ipv6=1",
    "net.ipv6.conf.default.disable_ipv6=1",
)


def commands(settings: Settings) -> list[list[str]]:
    """Everything to run on a machine that has nothing of it yet, in order."""
    node0, node1 = (node.namespace for node in settings.nodes)
    near, far = f"{WIRE[1]}", f"{WIRE[2]}"
    host, api = settings.host_address, settings.api_address
    outside = settings.interface
    length = f"/{settings.link.prefixlen}"
    setup = [["ip", "netns", "add", name] for name in (node0, node1)]
    setup += [_inside(name, "sysctl", "-qw", *SYSCTLS) for name in (node0, node1)]
    words = [
        f"ip -n {node0} link set lo up",
        f"ip -n {node1} link set lo up",
        f"ip link add {outside} type veth peer name eth0 netns {node0}",
        f"ip addr add {host}{length} dev {outside}",
        f"ip -n {node0} addr add {api}{length} dev eth0",
        f"ip -n {node0} link set eth0 up",
        f"ip link set {outside} up",
        f"ip -n {node0} link add eth1 type veth peer name eth0 netns {node1}",
        f"ip -n {node0} addr add {near}/24 dev eth1",
        f"ip -n {node0} link set eth1 up",
        f"ip -n {node1} addr add {far}/24 dev eth0",
        f"ip -n {node1} link set eth0 up",
        *_routes(settings, near, far),
    ]
    return [*setup, *(line.split() for line in words)]


def _routes(settings: Settings, near: str, far: str) -> list[str]:
    node0, node1 = settings.nodes
    return [
        f"ip -n {node0.namespace} route add {node1.pod_range} via {far}",
        f"ip -n {node1.namespace} route add {node0.pod_range} via {near}",
        f"ip -n {node1.namespace} route add {settings.link} via {near}",
        # A node's own processes need some route towards a Service before kube-proxy can rewrite the address.
        f"ip -n {node0.namespace} route add {SERVICE_RANGE} via {far}",
        f"ip -n {node1.namespace} route add {SERVICE_RANGE} via {near}",
        # Pods ask for the gateway 169.254.1.1; the kernel answers for it only if the node has a route to it.
        f"ip -n {node0.namespace} route add 169.254.1.1/32 dev eth0",
        f"ip -n {node1.namespace} route add 169.254.1.1/32 dev eth0",
        f"ip -n {node0.namespace} rule add from {POD_RANGE} to {settings.host_address}/32 prohibit",
    ]


def create(settings: Settings) -> None:
    """Make namespaces, links and routes on a machine that has none of them."""
    for command in commands(settings):
        run(command)


def complete(settings: Settings) -> bool:
    """Whether namespaces and links are all there (the last thing that `create` makes is looked at too)."""
    node0, node1 = settings.nodes
    if not all((NAMESPACES / node.namespace).exists() for node in settings.nodes):
        return False
    if not succeeds(["ip", "link", "show", "dev", settings.interface]):
        return False
    rules = run(["ip", "-n", node0.namespace, "rule", "show"])
    routes = run(["ip", "-n", node1.namespace, "route", "show"])
    return settings.host_address in rules and SERVICE_RANGE in routes


def remove(settings: Settings) -> None:
    """Remove namespaces and links, whichever of them exist."""
    for node in settings.nodes:
        if (NAMESPACES / node.namespace).exists():
            run(["ip", "netns", "delete", node.namespace])
    if succeeds(["ip", "link", "show", "dev", settings.interface]):
        run(["ip", "link", "delete", settings.interface])


def conflicts(settings: Settings, addresses: str, routes: str) -> list[str]:
    """What on the host already uses the link's range, out of `ip -j addr` and `ip -j route`."""
    found = []
    own, link = settings.interface, settings.link
    for interface in json.loads(addresses):
        for item in interface.get("addr_info", []):
            if interface["ifname"] != own and item["family"] == "inet" and _address(item["local"]) in link:
                found.append(f"{interface['ifname']} has {item['local']}")
    for route in json.loads(routes):
        if route["dst"] != "default" and route.get("dev") != own and _network(route["dst"]).overlaps(link):
            found.append(f"a route to {route['dst']} by {route.get('dev', 'no interface')}")
    return found


def check_free(settings: Settings) -> None:
    """Raise ClusterError when the host uses the range of our link for something else."""
    found = conflicts(settings, run(["ip", "-j", "addr"]), run(["ip", "-j", "route"]))
    if found:
        raise ClusterError(
            f"the range {settings.link} is in use on this machine ({'; '.join(found)}): "
            f"set {LINK_VARIABLE} to a free one, such as 10.198.0.0/24"
        )


def inside(namespace: str) -> list[str]:
    """The words before a command that shall run in this network namespace and keep its pid."""
    return ["nsenter", f"--net={NAMESPACES / namespace}", "--"]


def _inside(namespace: str, *command: str) -> list[str]:
    return [*inside(namespace), *command]


def _address(text: str) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(text)


def _network(text: str) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(text, strict=False)
