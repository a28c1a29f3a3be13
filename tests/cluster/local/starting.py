"""Starting what does not run yet. Every step may be repeated: what is there and alive stays as it is."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from cluster.commands import succeeds
from cluster.local import cgroups, control_plane, images, kernel, network, node, objects, pki
from cluster.local.archives import Archive
from cluster.local.machine import Machine
from cluster.local.settings import Node
from cluster.local.stopping import stop_node
from cluster.progress import step
from cluster.waiting import wait_until


def start(machine: Machine) -> None:
    """Bring everything up and wait until both nodes are Ready and DNS and storage work."""
    with step("namespaces, links, keys"):
        prepare(machine)
    archives = images.own(machine.programs)
    with step("control plane and container runtimes"):
        jobs = [partial(start_runtime, machine, item, archives) for item in machine.settings.nodes]
        _together([partial(start_control_plane, machine), *jobs])
    with step("the cluster's own objects"):
        _apply(machine)
    with step("nodes Ready"):
        _together([partial(start_agents, machine, item) for item in machine.settings.nodes])
    with step("DNS and storage available"):
        wait_until("nodes, DNS and storage", lambda: not machine.unready(), 120, lambda: _still_unready(machine))


def prepare(machine: Machine) -> None:
    """Everything that is no process: notes, network, keys, configuration files."""
    settings = machine.settings
    settings.logs.mkdir(parents=True, exist_ok=True)
    kernel.note(settings.state / "kernel.json")
    if not network.complete(settings):
        network.remove(settings)
        network.create(settings)
    pki.ensure(settings)
    control_plane.write_files(settings)
    for item in settings.nodes:
        node.write_files(settings, item, machine.programs)
    machine.stamp_file.write_text(machine.stamp)


def start_control_plane(machine: Machine) -> None:
    """Start etcd, the API server, the controller manager and the scheduler; wait for the API server."""
    group = cgroups.create_tracking(machine.settings.control_group)
    inside = network.inside(machine.settings.nodes[0].namespace)
    for name, command in control_plane.commands(machine.settings, machine.programs).items():
        machine.processes.start(name, [*inside, *command], group)
    wait_for_api(machine)


def wait_for_api(machine: Machine) -> None:
    """Wait until the API server is ready; ClusterError with its last words when it ends instead."""

    def ready() -> bool:
        for name in ("etcd", "kube-apiserver"):
            machine.require_running(name)
        return machine.api.ready()

    wait_until("the API server", ready, 90, lambda: machine.processes.last_words("kube-apiserver"))


def start_node(machine: Machine, item: Node) -> None:
    """Start one node that was stopped."""
    start_runtime(machine, item, images.own(machine.programs))
    start_agents(machine, item)


def start_runtime(machine: Machine, item: Node, archives: list[Archive]) -> None:
    """Start the node's namespace and containerd, and import the cluster's own images."""
    if not machine.processes.running(item.holder):
        stop_node(machine, item)  # what is left of it lives in a mount namespace that nobody can enter any more
    group = _create_groups(item)
    holder = node.holder(machine.settings, item, machine.programs)
    machine.processes.start(holder.name, holder.command, group, holder.env)
    log = machine.processes.last_words
    wait_until(f"{item.name}'s namespace", lambda: _holds(machine, item), 15, lambda: log(holder.name))
    runtime = node.runtime(item)
    machine.processes.start(runtime.name, [*machine.inside(item), *runtime.command], group, runtime.env)
    wait_until(runtime.name, lambda: _answers(machine, item), 30, lambda: log(runtime.name))
    for archive in archives:
        machine.store(item).load(archive)


def start_agents(machine: Machine, item: Node) -> None:
    """Start kubelet, kube-proxy and Felix, and wait until a kubelet that was started says that the node is Ready."""
    group = _create_groups(item)
    known = machine.api.heartbeat(item.name)
    agents = node.agents(machine.settings, item, machine.programs)
    fresh = not machine.processes.running(agents[0].name)

    def start() -> None:
        for agent in agents:
            machine.processes.start(agent.name, [*machine.inside(item), *agent.command], group, agent.env)

    def ready() -> bool:
        start()  # a kubelet ends when containerd answers and is not quite there yet
        # What is known from before says nothing: the API server notices only after a while that a node is gone.
        heard = not fresh or machine.api.heartbeat(item.name) != known
        return heard and item.name in machine.api.ready_nodes()

    wait_until(f"{item.name} Ready", ready, 90, lambda: machine.processes.last_words(agents[0].name))


def _create_groups(item: Node) -> Path:
    cgroups.create(item.namespace)
    return cgroups.create_tracking(item.group)


def _holds(machine: Machine, item: Node) -> bool:
    """Whether the holder has made its mounts: it becomes `pause` when it is done."""
    machine.require_running(item.holder)
    identity = machine.processes.identity(item.holder)
    return identity is not None and os.readlink(f"/proc/{identity.pid}/exe").endswith("/pause")


def _answers(machine: Machine, item: Node) -> bool:
    machine.require_running(node.runtime(item).name)
    return succeeds([*machine.inside(item), "ctr", "version"])


def _apply(machine: Machine) -> None:
    words = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    machine.kubectl(*words, stdin=objects.base(machine.settings, machine.programs["calico"] / "data"))
    machine.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    machine.kubectl(*words, stdin=objects.network(machine.settings))


def _still_unready(machine: Machine) -> str:
    logs = machine.settings.logs
    return f"Not ready: {', '.join(machine.unready())}. Dead: {', '.join(machine.dead()) or 'none'}. Logs are in {logs}"


def _together(jobs: list[Callable[[], None]]) -> None:
    """Run all of them at the same time; the first error when one fails."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        for future in [pool.submit(job) for job in jobs]:
            future.result()
