"""A pool, its sessions and somebody who may talk to them: what tests of long-running sessions begin with."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from e2e import manifests
from e2e.access import may
from e2e.api import PODS, POOLS, SECRETS, Api, Json, condition
from e2e.gateway import Client, Gateway
from e2e.lab import Lab
from e2e.operator_pod import NAMESPACE
from e2e.waiting import PATIENCE, eventually, wait_for

APP = "app"
POOL_UID = "agentsessions.dev/pool-uid"


@dataclass(frozen=True)
class Stage:
    """A namespace with somebody in it who may talk."""

    lab: Lab
    gateway: Gateway
    token: str

    @classmethod
    def built(cls, lab: Lab, gateway: Gateway) -> "Stage":
        """Make the account and its rights."""
        found = cls(lab, gateway, "")
        found.let_in(APP)
        return cls(lab, gateway, gateway.token(lab.namespace, APP))

    def let_in(self, account: str) -> None:
        """Make an account and its rights, and wait until they hold: a gateway remembers a refusal for a while."""
        namespace = self.lab.namespace
        self.lab.api.apply(manifests.account(namespace, account))
        self.lab.api.apply(manifests.editor(namespace, account))
        user = f"system:serviceaccount:{namespace}:{account}"
        for resource in ("agentsessions", "agentpools"):
            ask = partial(may, self.lab.api, user, "create", resource, namespace=namespace, subresource="conversation")
            eventually(ask, bool, f"the rights of {account}")

    def pool(self, name: str = "chat", **spec: Any) -> Json:
        """Apply a pool and wait until all its hosts take sessions."""
        self.lab.api.apply(manifests.pool(self.lab.namespace, name, **spec))
        return self.until_pool(name, _is_ready, "readiness")

    def until_pool(self, name: str, test: Callable[[Json], bool], what: str, seconds: float = PATIENCE) -> Json:
        """Wait until `test` holds for a pool."""

        def holds(thing: Json | None) -> bool:
            return thing is not None and test(thing)

        found = wait_for(self.lab.api, POOLS, self.lab.namespace, name, holds, what, seconds)
        assert found is not None
        return found

    def session(self, name: str, pool: str = "chat", **spec: Any) -> Json:
        """Apply a session."""
        return self.lab.api.apply(manifests.lasting(self.lab.namespace, name, pool, **spec))

    def hybrid(self, name: str, **spec: Any) -> Json:
        """Apply a Hybrid session and wait until it sleeps."""
        self.lab.api.apply(manifests.hybrid(self.lab.namespace, name, **spec))
        return self.lab.reason(name, "Asleep")

    def asleep(self, name: str) -> Json:
        """Wait until a session sleeps and its pods are gone; return it."""
        found = self.lab.reason(name, "Asleep")
        for pod in self.lab.pods(found):
            self.lab.gone_pod(pod)
        return found

    def running(self, *names: str) -> dict[str, Json]:
        """Wait until sessions are on their hosts; return them by name."""
        return {name: self.lab.reason(name, "Running") for name in names}

    def client(self, name: str, base: str = "", token: str = "") -> Client:
        """Return somebody who talks to a session."""
        path = f"/v1/namespaces/{self.lab.namespace}/sessions/{name}"
        return Client(base or self.gateway.url, path, token or self.token)

    def implicit(self, session_id: str, pool: str = "chat", base: str = "", token: str = "") -> Client:
        """Return somebody who talks to an id of a pool."""
        path = f"/v1/namespaces/{self.lab.namespace}/pools/{pool}/sessions/{session_id}"
        return Client(base or self.gateway.url, path, token or self.token)

    def hosts(self, pool: str = "chat") -> list[Json]:
        """Return the pods of a pool that stay."""
        found = self.lab.api.get(POOLS, self.lab.namespace, pool)
        assert found is not None
        selector = f"{POOL_UID}={found['metadata']['uid']}"
        pods = self.lab.api.list(PODS, self.lab.namespace, labelSelector=selector)
        return sorted(
            (p for p in pods if "deletionTimestamp" not in p["metadata"]), key=lambda p: str(p["metadata"]["name"])
        )

    def signing_key(self) -> bytes:
        """Return the control plane's private key, as an administrator may."""
        return read_signing_key(self.lab.api)


def read_signing_key(api: Api) -> bytes:
    """Return the control plane's private key in PEM."""
    secret = api.get(SECRETS, NAMESPACE, "agentsessions-signing-key")
    assert secret is not None
    return base64.b64decode(secret["data"]["key.pem"])


def _is_ready(pool: Json) -> bool:
    return condition(pool, "Ready").get("status") == "True" and pool["status"].get("observedGeneration") == pool[
        "metadata"
    ].get("generation")


def is_elsewhere(pod_uid: str) -> Callable[[Json], bool]:
    """Return a test that a session has a pod, and not that one; it has none while it is placed anew."""
    return lambda session: bool(session["status"].get("host", {}).get("podUID", pod_uid) != pod_uid)


def places(sessions: dict[str, Json]) -> dict[str, str]:
    """Return the host of each session, by pod name."""
    return {name: str(one["status"]["host"]["pod"]) for name, one in sessions.items()}
