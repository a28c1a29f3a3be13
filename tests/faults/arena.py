"""What faults strike at, and the ways in that are opened anew when a fault has closed them."""

from contextlib import ExitStack
from dataclasses import dataclass, field

import cluster
from e2e import manifests
from e2e.api import DEPLOYMENTS, NODES, PODS, SESSIONS, Api
from e2e.gateway import ways
from e2e.lab import Lab
from e2e.operator_pod import NAMESPACE, is_rolled_out
from e2e.stage import Stage
from e2e.stores import Store
from e2e.waiting import wait_for
from faults.story import Story

_GATEWAY = "agentsessions-gateway"


@dataclass
class Arena:
    """A namespace with somebody who talks, a store, and the cluster. `made` counts sessions."""

    stage: Stage
    provider: cluster.Provider
    store: Store
    ways: ExitStack
    made: int = field(default=0, init=False)

    @property
    def lab(self) -> Lab:
        """The namespace."""
        return self.stage.lab

    @property
    def api(self) -> Api:
        """The cluster's API."""
        return self.stage.lab.api

    def story(self, name: str) -> Story:
        """Return a session that does not exist yet."""
        self.made += 1
        return Story(self.stage, self.store, f"{name}-{self.made}")

    def clear(self) -> None:
        """Delete all sessions, so that the next fault finds room; what comes of that is not waited for."""
        for session in self.lab.sessions():
            self.api.delete(SESSIONS, self.lab.namespace, session["metadata"]["name"])

    def doomed(self) -> str:
        """Return the node on which the model's stand-in is not: what it has heard must outlive the fault."""
        (stand_in,) = self.api.list(PODS, manifests.STAND_IN_NAMESPACE, labelSelector="app=model-standin")
        return next(node for node in self.provider.nodes() if node != stand_in["spec"]["nodeName"])

    def heal(self) -> None:
        """Give cordoned nodes back, wait until operator, store and gateways are whole, and open new ways to these."""
        for node in self.provider.nodes():
            self.api.patch(NODES, None, node, {"spec": {"unschedulable": None}})
        self.lab.operator.wait_ready()
        self.store.wait_ready()
        wait_for(self.api, DEPLOYMENTS, NAMESPACE, _GATEWAY, is_rolled_out, "readiness of the gateways")
        self.open()

    def open(self) -> None:
        """Open a way to each gateway, in place of those that there were."""
        self.ways.close()
        urls = self.stage.gateway.urls
        urls.clear()
        urls |= ways(self.api, self.lab.terminal, self.ways)
