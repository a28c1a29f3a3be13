"""The operator as it is installed: its pod, log and metrics, and rough treatment of it."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from e2e.api import DEPLOYMENTS, PODS, Api, Json, condition
from e2e.terminal import Terminal
from e2e.waiting import wait_for

NAMESPACE = "agentsessions-system"
RELEASE = "agentsessions"
USER_NAME = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
_SELECTOR = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=operator"
_FETCH = (
    "import sys,urllib.request as u; sys.stdout.write(u.urlopen('http://127.0.0.1:8080'+sys.argv[1]).read().decode())"
)
_DAWN_SECONDS = 3
"""How long after it says that it is ready an API server may still not know all roles."""
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of Prometheus text."""

    name: str
    labels: dict[str, str]
    value: float


def parse_metrics(text: str) -> list[Sample]:
    """Return the samples of a Prometheus page; comments are left out."""
    out = []
    for line in text.splitlines():
        if match := _SAMPLE.match(line):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
            out.append(Sample(match[1], labels, float(match[3])))
    return out


@dataclass(slots=True)
class Operator:
    """The one operator of the cluster, and what it said before tests ended it on purpose.

    `dawns` are times (from, to; as in logs) in which the API server had just been started and knew no roles yet: it
    forbids everything then, and that counts against nobody. `excused` is what it had forbidden by their end; a count
    that has grown since is no longer the same sample.
    """

    api: Api
    terminal: Terminal
    kept_logs: list[str] = field(default_factory=list)
    kept_refusals: list[Sample] = field(default_factory=list)
    dawns: list[tuple[str, str]] = field(default_factory=list)
    excused: list[Sample] = field(default_factory=list)

    def pod(self) -> Json:
        """Return its pod; AssertionError if there is not exactly one."""
        pods = self.pods()
        assert len(pods) == 1, f"{len(pods)} operator pods: {[p['metadata']['name'] for p in pods]}"
        return pods[0]

    def pods(self) -> list[Json]:
        """Return its pods that are neither on their way out nor, as an evicted one, at their end."""
        pods = self.api.list(PODS, NAMESPACE, labelSelector=_SELECTOR)
        live = [pod for pod in pods if pod["status"].get("phase") in ("Pending", "Running")]
        return [pod for pod in live if "deletionTimestamp" not in pod["metadata"]]

    def identity(self) -> tuple[str, int]:
        """Return pod uid and restart count: equal before and after means that it never died."""
        pod = self.pod()
        return pod["metadata"]["uid"], int(pod["status"]["containerStatuses"][0]["restartCount"])

    def log(self, pod: str = "") -> str:
        """Return the log of the running container; `pod` names one of several replicas."""
        name = pod or str(self.pod()["metadata"]["name"])
        return self.api.text(PODS.path(NAMESPACE, f"{name}/log"))

    def log_lines(self) -> list[Json]:
        """Return the log as JSON; a line that is none fails."""
        return [json.loads(line) for line in self.log().splitlines()]

    def fetch(self, path: str, pod: str = "") -> str:
        """Return a page of its HTTP server, asked from inside its pod; `pod` names one of several replicas."""
        name = pod or str(self.pod()["metadata"]["name"])
        return self.terminal.execute(NAMESPACE, name, "python", "-c", _FETCH, path)

    def metrics(self, pod: str = "") -> list[Sample]:
        """Return its metrics, or those of one of several replicas."""
        return parse_metrics(self.fetch("/metrics", pod))

    def refusals(self, pod: str = "") -> list[Sample]:
        """Return the counts of its requests that were forbidden, without those that are excused."""
        return [one for one in self._forbidden(pod) if one not in self.excused]

    def _forbidden(self, pod: str = "") -> list[Sample]:
        name = "agentsessions_kubernetes_requests_total"
        return [s for s in self.metrics(pod) if s.name == name and s.labels["code"] in ("401", "403")]

    def keep_evidence(self) -> None:
        """Keep log and refusals of the processes that are about to be ended."""
        for name in [str(pod["metadata"]["name"]) for pod in self.pods()]:
            self.kept_logs.append(self.log(name))
            self.kept_refusals += self.refusals(name)

    @contextmanager
    def dawn(self) -> Iterator[None]:
        """Start the API server anew in the block."""
        with self.disowned():
            yield
            time.sleep(_DAWN_SECONDS)
        self.excused = self._forbidden()

    @contextmanager
    def taken_over(self) -> Iterator[None]:
        """Excuse what a process that the block leaves running was forbidden before: an earlier run had its reasons."""
        began, ready = _now(), [pod["metadata"] for pod in self.pods() if is_ready(pod)]
        before = {meta["uid"]: self._forbidden(meta["name"]) for meta in ready}
        yield
        self.excused = before.get(self.pod()["metadata"]["uid"], [])
        self.dawns.append(("", began))

    @contextmanager
    def disowned(self) -> Iterator[None]:
        """Take its rights away in the block, as removing its release does before it has ended."""
        began = _now()
        yield
        self.dawns.append((began, _now()))

    def wait_ready(self) -> None:
        """Wait until there are as many operators as there should be, and each is ready."""
        wait_for(self.api, DEPLOYMENTS, NAMESPACE, RELEASE, is_rolled_out, "the operator's rollout")
        for name in [pod["metadata"]["name"] for pod in self.pods()]:
            wait_for(self.api, PODS, NAMESPACE, name, is_ready, "readiness of the operator")

    def scale(self, replicas: int) -> None:
        """Scale its Deployment and wait until that many pods are there, gone ones really gone."""
        if replicas == 0:
            self.keep_evidence()
        going = [pod["metadata"]["name"] for pod in self.pods()] if replicas == 0 else []
        self.api.patch(DEPLOYMENTS, NAMESPACE, RELEASE, {"spec": {"replicas": replicas}})
        for name in going:
            wait_for(self.api, PODS, NAMESPACE, name, lambda pod: pod is None, "the end of the operator's pod")
        if replicas:
            self.wait_ready()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Do without an operator for a while."""
        self.scale(0)
        try:
            yield
        finally:
            self.scale(1)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def is_rolled_out(deployment: Json | None) -> bool:
    """Return whether the Deployment has what it wants."""
    if deployment is None:
        return False
    status, wanted = deployment.get("status", {}), deployment["spec"]["replicas"]
    current = status.get("observedGeneration") == deployment["metadata"]["generation"]
    counts = ("replicas", "updatedReplicas", "readyReplicas")
    return bool(current and all(status.get(name, 0) == wanted for name in counts))


def is_ready(pod: Json | None) -> bool:
    """Return whether the pod is ready."""
    return pod is not None and condition(pod, "Ready").get("status") == "True"
