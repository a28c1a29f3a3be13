"""Redis, Postgres and S3 in pods of their own: where sessions keep what they said, and rough treatment of it.

A store is started when it is first asked for, stays until `remove`, and serves every test. Tests do not meet in it: the
namespace is a part of every key.
"""

import secrets
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from e2e import manifests, store_pods
from e2e.api import CLAIMS, NAMESPACES, PODS, SECRETS, STATEFUL_SETS, Api, ApiError, Json
from e2e.lab import Lab
from e2e.operator_pod import is_ready
from e2e.store_pods import BUCKET, NAMESPACE, POSTGRES, REDIS, S3, Kind
from e2e.terminal import CommandFailed, Terminal
from e2e.waiting import wait_for

USER = "sessions"
"""User of Postgres and access key of S3."""

_PATIENCE = 240
"""Seconds; a volume has to be made first."""


@dataclass(frozen=True, slots=True)
class Store:
    """A store that runs."""

    kind: Kind
    api: Api
    terminal: Terminal
    password: str = field(repr=False)

    @property
    def host(self) -> str:
        """Its name in the cluster."""
        return f"{self.kind.name}.{NAMESPACE}.svc.cluster.local"

    @property
    def secret_name(self) -> str:
        """Name of the Secret that `secret` makes."""
        return f"store-{self.kind.name}"

    @property
    def bucket(self) -> Json:
        """Return its bucket, as in `s3` of a session store or a workspace's archive."""
        assert self.kind is S3, f"{self.kind.name} has no buckets"
        return {"bucket": BUCKET, "endpoint": f"http://{self.host}:{S3.port}"}

    def given_to(self, lab: Lab, **more: Any) -> Json:
        """Put its Secret into a test's namespace; return `sessionStore` for sessions there."""
        lab.api.apply(self.secret(lab.namespace))
        return self.session_store(**more)

    def session_store(self, **more: Any) -> Json:
        """Return `sessionStore` of a session; `more` is for example prefix or onDelete."""
        s3 = {"s3": self.bucket} if self.kind is S3 else {}
        return {"type": self.kind.type, **self._access(), **s3, **more}

    def archive(self, **more: Any) -> Json:
        """Return a workspace's archive in its bucket; `more` is for example prefix or maxSize."""
        return {"s3": self.bucket, **self._access(), **more}

    def secret(self, namespace: str) -> Json:
        """Return the Secret that sessions of a namespace need."""
        return manifests.secret(namespace, self.secret_name, **self.credentials())

    def mentions(self, text: str) -> list[str]:
        """Return the keys (Redis, S3) or rows (Postgres) in which a text stands, for example a session's id."""
        return [line for line in self.execute("sh", "-c", self.kind.find, "sh", text).splitlines() if line]

    def empty(self) -> None:
        """Throw away all that it holds, as somebody does by mistake."""
        self.execute("sh", "-c", self.kind.empty)

    def lose(self, text: str, lines: int) -> None:
        """Let Redis lose the last lines of every conversation whose key has the text, as a failover may."""
        assert self.kind is REDIS, f"{self.kind.name} has no such command"
        self.execute("sh", "-c", store_pods.LOSE, "sh", text, str(lines + 1))

    def node(self) -> str:
        """Return the node that it is bound to: its volume is there."""
        pod = self.api.get(PODS, NAMESPACE, self._pod_name)
        assert pod is not None, f"pod {self._pod_name} is gone"
        return str(pod["spec"]["nodeName"])

    def kill(self) -> None:
        """End its pod at once, and wait until the next one serves what is on the volume."""
        pod = self.api.get(PODS, NAMESPACE, self._pod_name)
        assert pod is not None, f"pod {self._pod_name} is gone"
        uid = pod["metadata"]["uid"]
        self.api.delete(PODS, NAMESPACE, self._pod_name, gracePeriodSeconds=0)

        def is_next(found: Json | None) -> bool:
            return found is not None and found["metadata"]["uid"] != uid and is_ready(found)

        wait_for(self.api, PODS, NAMESPACE, self._pod_name, is_next, "the next pod of the store", _PATIENCE)
        self._reach()

    def crash(self) -> None:
        """Kill its processes where they stand, and wait until its container has been started anew, in the same pod.

        As after the restart of a node, the numbers in its locks are those of living processes by then.
        """
        pod = self.api.get(PODS, NAMESPACE, self._pod_name)
        assert pod is not None, f"pod {self._pod_name} is gone"
        uid, before = pod["metadata"]["uid"], _restarts(pod)
        self.execute(
            "sh", "-c", "for lock in /tmp/.s.*.lock; do [ ! -e $lock ] || sed --in-place '1s/.*/1/' $lock; done"
        )
        with suppress(CommandFailed):  # whoever asks for it may end with it
            self._signal("KILL")

        def is_back(found: Json | None) -> bool:
            return (
                found is not None and found["metadata"]["uid"] == uid and _restarts(found) > before and is_ready(found)
            )

        wait_for(self.api, PODS, NAMESPACE, self._pod_name, is_back, "the store's container, again", _PATIENCE)
        self._reach()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Do without it for a while: its address refuses connections."""
        self._scale(0)
        wait_for(self.api, PODS, NAMESPACE, self._pod_name, lambda pod: pod is None, "the end of the store's pod")
        try:
            yield
        finally:
            self._scale(1)
            self.wait_ready()

    def begin_anew(self) -> None:
        """Throw away its volume, and start it with another one, wherever there is a node for it."""
        with self.stopped():
            self.api.delete(CLAIMS, NAMESPACE, f"data-{self._pod_name}")
            wait_for(self.api, CLAIMS, NAMESPACE, f"data-{self._pod_name}", lambda claim: claim is None, "its end")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it answer nothing for a while: connections are made, and that is all."""
        self._signal("STOP")
        try:
            yield
        finally:
            self._signal("CONT")

    @contextmanager
    def slowed(self, seconds: float = 5) -> Iterator[None]:
        """Let it work for a tenth of a second, then rest for `seconds`, over and over."""
        processes = f"$(pidof {self.kind.process})"
        beat = f"kill -STOP {processes}; sleep {seconds}; kill -CONT {processes}; sleep 0.1"
        self.execute("sh", "-c", f"(while :; do {beat}; done) </dev/null >/dev/null 2>&1 & echo $! > /tmp/slowed")
        try:
            yield
        finally:
            self.execute("sh", "-c", f"kill -KILL $(cat /tmp/slowed); sleep 0.2; kill -CONT {processes}")

    def execute(self, *command: str) -> str:
        """Run a command in its pod."""
        return self.terminal.execute(NAMESPACE, self._pod_name, *command)

    def wait_ready(self) -> None:
        """Wait until its pod is of the newest version, and its address leads there."""
        name = self.kind.name
        wait_for(self.api, STATEFUL_SETS, NAMESPACE, name, _is_rolled_out, "the store's rollout", _PATIENCE)
        self._reach()

    @property
    def _pod_name(self) -> str:
        return f"{self.kind.name}-0"

    def _reach(self) -> None:
        """Wait until the way through its Service is open: a node learns of a ready pod a second later."""
        ask = f"import socket; socket.create_connection(('{self.host}', {self.kind.port}), 3)"
        loop = 'until python3 -c "$1" 2>/dev/null; do sleep 0.2; done'
        self.execute("timeout", "60", "sh", "-c", loop, "sh", ask)

    def _scale(self, replicas: int) -> None:
        self.api.patch(STATEFUL_SETS, NAMESPACE, self.kind.name, {"spec": {"replicas": replicas}})

    def _signal(self, name: str) -> None:
        self.execute("sh", "-c", f"kill -{name} $(pidof {self.kind.process})")

    def _access(self) -> Json:
        peer = {"namespace": NAMESPACE, "podLabels": store_pods.labels(self.kind), "port": self.kind.port}
        return {"secretRef": {"name": self.secret_name}, "egress": [peer]}

    def credentials(self) -> dict[str, str]:
        """Return what its Secret holds."""
        if self.kind is S3:
            return {"accessKeyId": USER, "secretAccessKey": self.password}
        if self.kind is REDIS:
            return {"url": f"redis://:{self.password}@{self.host}:{REDIS.port}/0"}
        return {"url": f"postgresql://{USER}:{self.password}@{self.host}:{POSTGRES.port}/postgres"}


def _restarts(pod: Json) -> int:
    return sum(one["restartCount"] for one in pod.get("status", {}).get("containerStatuses", []))


Opened = Callable[[Lab], Store]
"""How a test comes by a store."""


def redis_store(lab: Lab) -> Store:
    """Return the Redis of the cluster, started if it is not there."""
    return _started(lab, REDIS)


def postgres_store(lab: Lab) -> Store:
    """Return the Postgres of the cluster, started if it is not there."""
    return _started(lab, POSTGRES)


def s3_store(lab: Lab) -> Store:
    """Return the S3 of the cluster, started if it is not there."""
    return _started(lab, S3)


def remove(api: Api) -> None:
    """Remove all stores and what they hold."""
    with suppress(ApiError):
        api.delete(NAMESPACES, None, NAMESPACE)


def _started(lab: Lab, kind: Kind) -> Store:
    """Bring a store to what is wanted, and wait until it serves."""
    lab.api.apply(manifests.namespace(NAMESPACE))
    store = Store(kind, lab.api, lab.terminal, _password(lab.api, kind))
    reference, version = lab.images.reference("stores"), lab.images.version("stores")
    lab.terminal.apply(store_pods.service(kind), store_pods.stateful_set(kind, reference, version))
    store.wait_ready()
    return store


def _password(api: Api, kind: Kind) -> str:
    """Return the store's password, made when it was first started: a volume remembers it."""
    with suppress(ApiError):
        api.create(manifests.secret(NAMESPACE, kind.name, password=secrets.token_hex(16)))
    found = api.get(SECRETS, NAMESPACE, kind.name)
    assert found is not None
    return b64decode(found["data"]["password"]).decode()


def _is_rolled_out(found: Json | None) -> bool:
    """Return whether the StatefulSet has its one pod, of the newest version."""
    if found is None:
        return False
    status = found.get("status", {})
    current = status.get("observedGeneration") == found["metadata"]["generation"]
    newest = status.get("currentRevision") == status.get("updateRevision")
    return bool(current and newest and status.get("readyReplicas", 0) == 1)
