"""What faults strike at, and the ways in that are opened anew when a fault has closed them."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

import cluster
from e2e import manifests
from e2e.api import DEPLOYMENTS, PODS, Api, Json
from e2e.audit import AuditLog
from e2e.gateway import ways
from e2e.killing import cordon
from e2e.lab import UID_LABEL, Lab, all_model_seen
from e2e.operator_pod import NAMESPACE, is_rolled_out
from e2e.stage import Stage
from e2e.stores import Store
from e2e.waiting import wait_for
from faults.cast import Cast
from faults.ledger import Ledger
from faults.story import Story

GATEWAY = "agentsessions-gateway"


@dataclass
class Arena:
    """A namespace with somebody who talks, a store, and the cluster.

    `cast`: sessions of all faults but those that need others; `made` counts sessions; `undo` ends faults.
    """

    stage: Stage
    provider: cluster.Provider
    store: Store
    ways: ExitStack
    audit_log: AuditLog | None = None
    undo: ExitStack = field(default_factory=ExitStack, init=False)
    made: int = field(default=0, init=False)
    cast: Cast = field(init=False)

    def __post_init__(self) -> None:
        """Begin with no session."""
        self.cast = Cast(partial(self.story, volume=False))

    @property
    def lab(self) -> Lab:
        """The namespace."""
        return self.stage.lab

    @property
    def api(self) -> Api:
        """The cluster's API."""
        return self.stage.lab.api

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Have the model's stand-in on the store's node: what strikes another node strikes neither of them.

        At the end both are as they were, also where a round was not played to its end.
        """
        try:
            self._bind({"kubernetes.io/hostname": self.store.node()})
            yield
        finally:
            self.scatter()
            self._bind({"kubernetes.io/hostname": None})

    def _bind(self, labels: Mapping[str, str | None]) -> None:
        """Have the model's stand-in on nodes with these labels; None: whatever the label says."""
        where = (DEPLOYMENTS, manifests.STAND_IN_NAMESPACE, "model")
        self.api.patch(*where, {"spec": {"template": {"spec": {"nodeSelector": labels}}}})
        wait_for(self.api, *where, is_rolled_out, "the stand-in's rollout")

    def story(self, name: str, *, volume: bool) -> Story:
        """Return a session that does not exist yet."""
        self.made += 1
        return Story(self.stage, self.store, f"{name}-{self.made}", volume=volume)

    def ledger(self) -> Ledger:
        """Return what the API server writes down about the namespace from now on."""
        return Ledger(self.audit_log, self.lab.namespace)

    def model(self) -> str:
        """Return which process the model's stand-in is: what it has seen is lost with it."""
        pods = self.api.list(PODS, manifests.STAND_IN_NAMESPACE, labelSelector="app=model-standin")
        (pod,) = [one for one in pods if "deletionTimestamp" not in one["metadata"]]
        starts = [str(one["restartCount"]) for one in pod["status"]["containerStatuses"]]
        return " ".join([str(pod["metadata"]["uid"]), *starts])

    def seen(self) -> dict[str, Json]:
        """Return what the model has seen, by session."""
        return all_model_seen(self.lab.terminal, self.api)

    def stored(self) -> str:
        """Return the names under which conversations of the namespace are stored: their sessions' ids stand in them."""
        return "\n".join(self.store.mentions(self.lab.namespace))

    def doomed(self) -> str:
        """Return the node on which store and stand-in are not: what they have heard must outlive the fault."""
        kept = self.store.node()
        return next(node for node in self.provider.nodes() if node != kept)

    def on_doomed(self) -> set[str]:
        """Return the ids of sessions with a pod on that node."""
        return {uid for uid, node in self._nodes().items() if node == self.doomed()}

    def at_home_on_doomed(self) -> set[str]:
        """Return the ids of sessions with a pod on that node that is not on its way out already."""
        return {uid for uid, node in self._nodes(staying=True).items() if node == self.doomed()}

    def elsewhere(self) -> set[str]:
        """Return the ids of sessions with a pod on another node."""
        return {uid for uid, node in self._nodes().items() if node != self.doomed()}

    def gather(self) -> None:
        """Let new pods be made on that node only."""
        for node in self.provider.nodes():
            cordon(self.api, node, node != self.doomed())

    def scatter(self) -> None:
        """Let pods be made on all nodes."""
        for node in self.provider.nodes():
            cordon(self.api, node, False)

    def _nodes(self, *, staying: bool = False) -> dict[str, str]:
        """Return the node of each session's pod, by the session's id; `staying`: without pods that are deleted."""
        pods = self.api.list(PODS, self.lab.namespace, labelSelector=UID_LABEL)
        chosen = [pod for pod in pods if not staying or "deletionTimestamp" not in pod["metadata"]]
        return {pod["metadata"]["labels"][UID_LABEL]: pod["spec"].get("nodeName", "") for pod in chosen}

    def heal(self) -> None:
        """End what lasts of faults, wait until operator, store and gateways are whole, and open new ways to these."""
        self.undo.close()
        self.scatter()
        self.lab.operator.wait_ready()
        self.store.wait_ready()
        self.open_again()

    def open_again(self) -> None:
        """Wait until all gateways serve, and open ways to those that there are now."""
        wait_for(self.api, DEPLOYMENTS, NAMESPACE, GATEWAY, is_rolled_out, "readiness of the gateways")
        self.open()

    def open(self) -> None:
        """Open a way to each gateway, in place of those that there were; there is one at any time, if a dead one."""
        before = self.ways.pop_all()
        found, urls = ways(self.api, self.lab.terminal, self.ways), self.stage.gateway.urls
        gone = urls.keys() - found.keys()
        urls.update(found)
        for name in gone:
            del urls[name]
        before.close()
