"""What makes a pool's hosts in a made-up world: Kubernetes' controller of StatefulSets, and a node that runs them."""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from agentsessions.api.base import Json
from agentsessions.kube.paths import CONTROLLER_REVISIONS, PODS, STATEFUL_SETS
from agentsessions.policies.hosts import HostFacts, host_facts
from agentsessions.reconcile.pools.rollout import template_hash
from unit import kubelet
from unit.make import NAMESPACE, stamp
from unit.world import World

CANNOT_PULL, ENDS_AGAIN = "registry.example/agent:absent", "registry.example/agent:crashes"


@dataclass
class Controller:
    """The controller: Parallel, with a partition, and a history of templates. `serial` numbers pods."""

    world: World
    serial: int = 0
    current: Json = field(default_factory=dict)

    def act(self) -> None:
        """Do once what it does for the StatefulSet that there is."""
        for made in self.world.of(STATEFUL_SETS):
            self._keep_revision(made)
            self.current = self.current or made["spec"]["template"]
            self._remove(made)
            self._replace(made)
            self._add(made)
            if self._is_through(made):
                self.current = made["spec"]["template"]

    def hosts(self) -> list[HostFacts]:
        """Return the hosts that there are, by number."""
        return sorted(map(host_facts, self.world.pods()), key=lambda host: host.ordinal)

    def _keep_revision(self, made: Json) -> None:
        template, name = made["spec"]["template"], f"chat-{template_hash(made['spec']['template'])}"
        if self.world.peek(CONTROLLER_REVISIONS, NAMESPACE, name) is None:
            meta = {"name": name, "namespace": NAMESPACE, "labels": template["metadata"]["labels"]}
            meta["ownerReferences"] = [self._owner(made)]
            self.world.add(CONTROLLER_REVISIONS, {"metadata": meta, "data": {"spec": {"template": template}}})

    def _remove(self, made: Json) -> None:
        """Delete pods that are too many, or over."""
        for host in self.hosts():
            if host.ordinal >= made["spec"]["replicas"] or host.terminal:
                self._delete(host)

    def _replace(self, made: Json) -> None:
        """Delete pods of another template from the partition on: those that are not ready at once, others by turns."""
        rule = made["spec"]["updateStrategy"]["rollingUpdate"]
        away = made["spec"]["replicas"] - sum(host.ready and not host.deleting for host in self.hosts())
        for host in reversed(self.hosts()):
            other = host.template_hash != template_hash(made["spec"]["template"])
            if not other or host.deleting or host.ordinal < rule["partition"]:
                continue
            if not host.ready:
                self._delete(host)
            elif away < rule.get("maxUnavailable", 1):
                away += 1
                self._delete(host)

    def _add(self, made: Json) -> None:
        there = {host.ordinal for host in self.hosts()}
        for number in set(range(made["spec"]["replicas"])) - there:
            new = number >= made["spec"]["updateStrategy"]["rollingUpdate"]["partition"]
            self.world.add(PODS, self._pod(made, number, made["spec"]["template"] if new else self.current))

    def _pod(self, made: Json, number: int, template: Json) -> Json:
        self.serial += 1
        meta: Json = deepcopy(template["metadata"])
        meta |= {"name": f"chat-{number}", "namespace": NAMESPACE, "uid": f"host-{self.serial}"}
        meta["ownerReferences"] = [self._owner(made)]
        return {"metadata": meta, "spec": deepcopy(template["spec"])}

    def _is_through(self, made: Json) -> bool:
        wanted, hosts = template_hash(made["spec"]["template"]), self.hosts()
        return len(hosts) == made["spec"]["replicas"] and all(host.template_hash == wanted for host in hosts)

    def _delete(self, host: HostFacts) -> None:
        body = self.world.objects[PODS, NAMESPACE, host.name]
        if "deletionTimestamp" not in body["metadata"]:
            self.world.delete_gracefully(PODS, body)

    def _owner(self, made: Json) -> Json:
        return {"kind": "StatefulSet", "name": "chat", "uid": made["metadata"]["uid"], "controller": True}


def node_acts(world: World) -> None:
    """Let the node end what is to be deleted, and start or fail to start the rest."""
    for pod in list(world.pods()):
        if "deletionTimestamp" in pod["metadata"]:
            world.remove(PODS, NAMESPACE, pod["metadata"]["name"])
        elif pod["status"]["phase"] not in ("Succeeded", "Failed") and not host_facts(pod).ready:
            world.set_pod(pod, _status(world, pod))


def _status(world: World, pod: Json) -> Json:
    image = pod["spec"]["containers"][0]["image"]
    if image == CANNOT_PULL:
        return kubelet.creating("ErrImagePull", at=world.now)
    if image == ENDS_AGAIN:
        return _with(kubelet.crash_loop(host_facts(pod).ends, at=world.now, lived=5), "False", world)
    return _with(kubelet.running(at=world.now), "True", world)


def _with(status: Json, ready: str, world: World) -> Json:
    conditions: list[Any] = [{"type": "Ready", "status": ready, "lastTransitionTime": stamp(world.now)}]
    return status | {"podIP": "10.0.0.7", "conditions": conditions}
