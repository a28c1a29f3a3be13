"""A cluster in memory: the Kube port's methods with the API server's semantics, and nodes that obey the test.

What is real here: resource versions, uids, preconditions, AlreadyExists, Conflict on stale writes, graceful deletion
of pods, garbage collection by owner, label selectors, and the small ways in which objects come back changed.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agentsessions.api.base import Json
from agentsessions.api.names import LABEL_ATTEMPT, LABEL_SESSION_UID
from agentsessions.api.session import AgentSession
from agentsessions.api.status import AgentSessionStatus
from agentsessions.kube.errors import AlreadyExists, Conflict, NotFound, Refused
from agentsessions.kube.paths import NETWORK_POLICIES, PODS, SESSIONS, TEMPLATES, Kind
from unit import kubelet
from unit.make import NAMESPACE, NOW, stamp

WRITES = frozenset({"POST", "PATCH", "DELETE"})
GATEWAYS = "lastRequestTime"
"""The one field of a session's status that the gateway writes, and the operator leaves alone."""


class Crash(BaseException):
    """The operator was killed; nothing of it runs on."""


@dataclass(frozen=True)
class Request:
    """One request that reached the API server."""

    verb: str
    plural: str
    name: str


@dataclass
class World:
    """Everything outside of the operator."""

    now: datetime = NOW
    objects: dict[tuple[Kind, str, str], Json] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    deleted_pods: list[Json] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    around: Callable[[str, Request], None] = lambda when, request: None
    on_delete: Callable[[Kind, Json], None] = lambda kind, body: None
    _version: int = 100
    _serial: int = 0

    # The port, as the operator sees it.

    def time(self) -> datetime:
        """Return the time."""
        return self.now

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """Return an object or None."""
        return self._serve("GET", kind, name, lambda: self.peek(kind, namespace, name))

    async def list(
        self, kind: Kind, namespace: str | None = None, *, metadata_only: bool = False, **selectors: str
    ) -> Sequence[Json]:
        """Return the objects that the selectors choose."""

        def chosen() -> Sequence[Json]:
            found = (b for (k, ns, _), b in self.objects.items() if k == kind and namespace in (None, ns))
            picked = [deepcopy(body) for body in found if _selected(body, selectors)]
            return [{"metadata": body["metadata"]} for body in picked] if metadata_only else picked

        return self._serve("LIST", kind, "", chosen)

    async def create(self, kind: Kind, manifest: Json) -> Json:
        """Create an object."""
        return self._serve("POST", kind, manifest["metadata"]["name"], lambda: self.add(kind, manifest))

    async def apply(self, kind: Kind, manifest: Json, *, manager: str = "agentsessions", subresource: str = "") -> Json:
        """Apply an object or a status."""
        name = manifest["metadata"]["name"]
        return self._serve("PATCH", kind, name, lambda: self._applied(kind, manifest, subresource))

    async def merge(
        self, kind: Kind, namespace: str, name: str, patch: Json, *, manager: str, subresource: str = ""
    ) -> Json:
        """Merge a patch into an object or a subresource."""
        return self._serve("PATCH", kind, name, lambda: self._merged(kind, namespace, name, patch, subresource))

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, grace: int | None = None, **preconditions: str
    ) -> None:
        """Delete an object under preconditions; a pod without grace is gone at once."""
        self._serve("DELETE", kind, name, lambda: self._deleted(kind, namespace, name, preconditions, grace))

    # What tests do to it and ask of it.

    def add(self, kind: Kind, manifest: Json) -> Json:
        """Put an object into the cluster, as a user or a controller would."""
        body = deepcopy(manifest)
        meta = body["metadata"]
        key = (kind, meta["namespace"], meta["name"])
        if key in self.objects:
            raise AlreadyExists(409, f"{kind.plural} '{meta['name']}' already exists", "AlreadyExists")
        self._serial += 1
        meta.setdefault("uid", f"{kind.plural}-{self._serial}")
        meta["creationTimestamp"] = stamp(self.now)
        if kind == PODS:
            body["status"] = kubelet.pending()
        if kind == NETWORK_POLICIES:
            body["spec"] = _normal(body["spec"])
        self.objects[key] = body
        return deepcopy(self._touch(body))

    def peek(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """Return an object without a trace."""
        return deepcopy(self.objects.get((kind, namespace, name)))

    def of(self, kind: Kind) -> Sequence[Json]:
        """Return all objects of a kind."""
        return [deepcopy(body) for (k, _, _), body in self.objects.items() if k == kind]

    def session(self, name: str = "hello") -> AgentSession:
        """Return the session."""
        return AgentSession.model_validate(self.objects[SESSIONS, NAMESPACE, name])

    def pods(self) -> Iterator[Json]:
        """Yield the pods themselves, oldest first."""
        yield from [body for (kind, _, _), body in self.objects.items() if kind == PODS]

    def live_pods(self) -> Sequence[Json]:
        """Return the pods whose agent runs or may yet run."""
        return [pod for pod in self.pods() if pod["status"]["phase"] not in ("Succeeded", "Failed")]

    def writes(self) -> Sequence[Request]:
        """Return the requests that change something."""
        return [request for request in self.requests if request.verb in WRITES]

    def set_pod(self, pod: Json, status: Json) -> None:
        """Let the node report."""
        if "startTime" in status:
            pod["spec"]["nodeName"] = "n1"
        started = pod["status"].get("startTime")
        pod["status"] = deepcopy(status) | ({"startTime": started} if started else {})
        self._touch(pod)

    def edit(self, kind: Kind, name: str, **spec: Any) -> None:
        """Let a user change the spec of an object."""
        body = self.objects[kind, NAMESPACE, name]
        body["spec"] = body.get("spec", {}) | spec
        body["metadata"]["generation"] = body["metadata"].get("generation", 1) + 1
        self._touch(body)

    def put_template(self, name: str = "default", **spec: Any) -> None:
        """Let a user write a template."""
        if (TEMPLATES, NAMESPACE, name) in self.objects:
            self.edit(TEMPLATES, name, **spec)
        else:
            self.add(TEMPLATES, {"metadata": {"namespace": NAMESPACE, "name": name}, "spec": spec})

    def remove(self, kind: Kind, namespace: str, name: str) -> None:
        """Take an object away at once, and with it what it owns."""
        body = self.objects.pop((kind, namespace, name))
        if kind == PODS:
            self.deleted_pods.append(deepcopy(body))
        for (owned, ns, child), other in list(self.objects.items()):
            owners = other["metadata"].get("ownerReferences", [])
            if any(owner["uid"] == body["metadata"]["uid"] for owner in owners):
                self.remove(owned, ns, child)

    # How the API server works.

    def _serve(self, verb: str, kind: Kind, name: str, work: Callable[[], Any]) -> Any:
        request = Request(verb, kind.plural, name)
        self.around("before", request)
        self.requests.append(request)
        for what in (kind.plural, f"{verb} {kind.plural}"):
            if verb in WRITES and what in self.refusals:
                raise Refused(403, self.refusals[what], "Forbidden")
        answer = work()
        self.around("after", request)
        return answer

    def _applied(self, kind: Kind, manifest: Json, subresource: str) -> Json:
        meta = manifest["metadata"]
        body = self.objects.get((kind, meta["namespace"], meta["name"]))
        if body is None:
            raise NotFound(404, f"{kind.plural} '{meta['name']}' not found", "NotFound")
        _check(body, meta)
        part = subresource or "spec"
        wanted = json.loads(json.dumps(manifest[part], allow_nan=False))
        if kind == SESSIONS:
            assert subresource == "status", "the operator must never write a session's spec"
            assert AgentSessionStatus.model_validate(wanted).to_json() == wanted
            assert GATEWAYS not in wanted, "what is applied once is taken from its owner"
            wanted |= {name: value for name, value in body.get("status", {}).items() if name == GATEWAYS}
        if kind == NETWORK_POLICIES:
            wanted = _normal(wanted)
        if body.get(part) != wanted:
            body[part] = wanted
            self._touch(body)
        return deepcopy(body)

    def _merged(self, kind: Kind, namespace: str, name: str, patch: Json, subresource: str) -> Json:
        body = self.objects.get((kind, namespace, name))
        if body is None:
            raise NotFound(404, f"{kind.plural} '{name}' not found", "NotFound")
        _check(body, patch.get("metadata", {}))
        if subresource:
            body[subresource] = body.get(subresource, {}) | patch[subresource]
            return deepcopy(self._touch(body))
        assert set(patch) == {"metadata"}, "the operator must never write a session's spec"
        if kind == PODS:
            return self._marked(body, patch["metadata"])
        assert set(patch["metadata"]) == {"uid", "resourceVersion", "finalizers"}
        body["metadata"]["finalizers"] = list(patch["metadata"]["finalizers"])
        self._touch(body)
        if "deletionTimestamp" in body["metadata"] and not body["metadata"]["finalizers"]:
            self.remove(kind, namespace, name)
        return deepcopy(body)

    def _marked(self, body: Json, patch: Json) -> Json:
        assert set(patch) == {"uid", "labels", "annotations"}
        for part in ("labels", "annotations"):
            marks = body["metadata"].get(part, {}) | patch[part]
            body["metadata"][part] = {name: value for name, value in marks.items() if value is not None}
        return deepcopy(self._touch(body))

    def _deleted(self, kind: Kind, namespace: str, name: str, preconditions: dict[str, str], grace: int | None) -> None:
        body = self.objects.get((kind, namespace, name))
        if body is None:
            return
        _check(body, preconditions)
        self.on_delete(kind, body)
        if grace == 0:
            self.remove(kind, namespace, name)
        else:
            self.delete_gracefully(kind, body, grace)

    def delete_gracefully(self, kind: Kind, body: Json, grace: int | None = None) -> None:
        """Delete as the API server does: a pod on a node waits for the node."""
        meta = body["metadata"]
        on_node = kind == PODS and "nodeName" in body["spec"]
        alive = on_node and body["status"]["phase"] not in ("Succeeded", "Failed")
        if alive or meta.get("finalizers"):
            meta["deletionTimestamp"] = stamp(self.now)
            if kind == PODS:
                wanted = body["spec"].get("terminationGracePeriodSeconds", 30) if grace is None else grace
                # A second deletion may shorten the first one's grace, and never makes it longer.
                meta["deletionGracePeriodSeconds"] = min(wanted, meta.get("deletionGracePeriodSeconds", wanted))
            self._touch(body)
        else:
            self.remove(kind, meta["namespace"], meta["name"])

    def _touch(self, body: Json) -> Json:
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        return body


def attempt_of(pod: Json) -> int:
    """Return the number of the attempt that the pod serves."""
    return int(pod["metadata"]["labels"][LABEL_ATTEMPT])


def session_uid_of(pod: Json) -> str:
    """Return the uid of the session that the pod serves."""
    return str(pod["metadata"]["labels"][LABEL_SESSION_UID])


def _check(body: Json, wanted: Json) -> None:
    """Refuse a write that was meant for another object, or for another version of it."""
    for name in ("uid", "resourceVersion"):
        if wanted.get(name, body["metadata"][name]) != body["metadata"][name]:
            raise Conflict(409, f"Precondition failed: {name} is {body['metadata'][name]}", "Conflict")


def _normal(value: Any) -> Any:
    """Leave out of a policy what the API server does not give back: empty rules and empty label lists."""
    if isinstance(value, list):
        return [_normal(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {k: _normal(v) for k, v in value.items() if not (k in ("matchLabels", "ingress") and not v)}


def _selected(body: Json, selectors: dict[str, str]) -> bool:
    """Return whether label and field selectors choose an object."""
    labels = body["metadata"].get("labels", {})
    for term in filter(None, selectors.get("labelSelector", "").split(",")):
        key, _, value = term.partition("=")
        if key not in labels or ("=" in term and labels[key] != value):
            return False
    for term in filter(None, selectors.get("fieldSelector", "").split(",")):
        path, _, value = term.partition("=")
        found: Any = body
        for step in path.split("."):
            found = found.get(step, {})
        if found != value:
            return False
    return True
