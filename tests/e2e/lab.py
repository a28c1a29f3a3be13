"""One test's own namespace, and the words in which tests speak about sessions in it."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from demo.images import Images
from e2e import manifests
from e2e.api import CLAIMS, EVENTS, PODS, SECRETS, SESSIONS, Api, Json, Resource, condition
from e2e.operator_pod import Operator, is_ready
from e2e.terminal import Terminal
from e2e.waiting import PATIENCE, WaitFailed, show, wait_for
from e2e.witness import Witness

UID_LABEL = "agentsessions.dev/session-uid"
CHILDREN = (PODS, SECRETS, CLAIMS)


@dataclass(frozen=True, slots=True)
class Lab:
    """A namespace under Pod Security "restricted", and all that a test needs to work in it."""

    namespace: str
    api: Api
    terminal: Terminal
    operator: Operator
    witness: Witness
    images: Images

    def start(self, name: str = "task", **spec: Any) -> Json:
        """Apply a session; `steps` and spec fields as in `manifests.session`."""
        return self.api.apply(manifests.session(self.namespace, name, **spec))

    def run(self, name: str = "task", **spec: Any) -> Json:
        """Apply a session and return it once it has finished, well or not."""
        self.start(name, **spec)
        return self.finished(name)

    def session(self, name: str = "task") -> Json:
        """Return a session; AssertionError if there is none."""
        found = self.api.get(SESSIONS, self.namespace, name)
        assert found is not None, f"session {name} is gone"
        return found

    def sessions(self) -> list[Json]:
        """Return all sessions of the namespace."""
        return self.api.list(SESSIONS, self.namespace)

    def until(self, name: str, test: Callable[[Json], bool], what: str, seconds: float = PATIENCE) -> Json:
        """Wait until `test` holds for the session."""

        def holds(thing: Json | None) -> bool:
            return thing is not None and test(thing)

        found = wait_for(self.api, SESSIONS, self.namespace, name, holds, what, seconds)
        assert found is not None
        return found

    def reason(self, name: str, reason: str, seconds: float = PATIENCE) -> Json:
        """Wait until Ready has this reason; fails at once when the session has finished with another."""

        def settled(thing: Json) -> bool:
            return condition(thing, "Ready").get("reason") == reason or is_finished(thing)

        found = self.until(name, settled, f"reason {reason}", seconds)
        actual = condition(found, "Ready")["reason"]
        if actual != reason:
            raise WaitFailed(f"session {name} finished with {actual}, not {reason}:\n{show(found)}")
        return found

    def finished(self, name: str = "task", seconds: float = PATIENCE) -> Json:
        """Wait until the session has finished, well or not."""
        return self.until(name, is_finished, "the end of the session", seconds)

    def succeeded(self, name: str = "task", seconds: float = PATIENCE) -> Json:
        """Wait until the session has finished, and fail unless it has finished well."""
        found = self.finished(name, seconds)
        assert condition(found, "Succeeded")["status"] == "True", show(found)
        return found

    def running(self, name: str = "task") -> str:
        """Wait until the session's agent runs; return the pod's name."""
        return str(self.reason(name, "Running")["status"]["host"]["pod"])

    def gone(self, kind: Resource, name: str, seconds: float = PATIENCE) -> None:
        """Wait until an object of this namespace is gone."""
        wait_for(self.api, kind, self.namespace, name, lambda thing: thing is None, "its deletion", seconds)

    def gone_pod(self, pod: Json) -> None:
        """Wait until a pod is gone."""
        self.gone(PODS, str(pod["metadata"]["name"]))

    def pods(self, session: Json) -> list[Json]:
        """Return the pods that exist of a session."""
        return self.api.list(PODS, self.namespace, labelSelector=f"{UID_LABEL}={session['metadata']['uid']}")

    def children(self, session: Json) -> dict[str, list[str]]:
        """Return the names of a session's children by kind; kinds without any are left out."""
        selector = f"{UID_LABEL}={session['metadata']['uid']}"
        found = {kind.plural: self.api.list(kind, self.namespace, labelSelector=selector) for kind in CHILDREN}
        return {plural: [thing["metadata"]["name"] for thing in things] for plural, things in found.items() if things}

    def without_children(self, session: Json) -> None:
        """Wait until the garbage collector has taken every child of a session that is gone."""
        for kind in CHILDREN:
            for name in self.children(session).get(kind.plural, []):
                self.gone(kind, name)
        assert self.children(session) == {}

    def event(self, session: str, reason: str) -> Json:
        """Wait for an event about a session; return it."""
        query = {"fieldSelector": f"regarding.name={session},reason={reason}"}
        for _, event in self.api.watch(EVENTS, self.namespace, PATIENCE, **query):
            return event
        raise WaitFailed(f"no event {reason} about session {session}")

    def execute(self, pod: str, *command: str) -> str:
        """Run a command in a pod of this namespace."""
        return self.terminal.execute(self.namespace, pod, *command)

    def neighbour(self, name: str = "neighbour", **spec: Any) -> Json:
        """Start a pod that is none of ours and answers on port 8080; return it once it is ready."""
        image = self.images.reference("standin")
        self.api.create(manifests.server_pod(self.namespace, name, image, **spec))
        pod = wait_for(self.api, PODS, self.namespace, name, is_ready, f"readiness of {name}")
        assert pod is not None
        return pod

    def wait_restarted(self, pod: str) -> None:
        """Wait until a pod's container was started anew and is ready."""

        def holds(thing: Json | None) -> bool:
            return is_ready(thing) and thing is not None and thing["status"]["containerStatuses"][0]["restartCount"] > 0

        wait_for(self.api, PODS, self.namespace, pod, holds, "its container's restart")

    def at_gate(self, name: str = "task", gate: str = "/tmp/go") -> str:
        """Wait until the session's agent has come to its gate; return the pod's name."""
        pod = self.running(name)
        self.execute(pod, "sh", "-c", f"until [ -e {gate}.reached ]; do sleep 0.1; done")
        return pod

    def open_gate(self, pod: str, gate: str = "/tmp/go") -> None:
        """Let an agent go on that waits at `gated` in its Bash tool."""
        self.execute(pod, "touch", gate)

    def model_requests(self, session: Json) -> int:
        """Return how many model calls the stand-in has answered for a session."""
        return model_requests(self.terminal, self.api, str(session["metadata"]["uid"]))

    def model_heard(self, session: Json) -> list[str]:
        """Return digests of all prompts in the last request of a session, in order."""
        return list(model_seen(self.terminal, self.api, str(session["metadata"]["uid"])).get("prompts", []))

    def model_begun(self, session: Json) -> dict[str, int]:
        """Return how often the model was first asked for an answer to each prompt of a session, by digest."""
        begun: dict[str, int] = model_seen(self.terminal, self.api, str(session["metadata"]["uid"])).get("begun", {})
        return begun


def gated(command: str = "true", gate: str = "/tmp/go") -> Json:
    """Return a Bash step that waits until the test opens the gate, and then runs a command."""
    wait = f"touch {gate}.reached; until [ -e {gate} ]; do sleep 0.2; done"
    return manifests.bash(f"{wait}; {command}", timeout=600_000)


def image_of(pod: Json) -> str:
    """Return the image that a pod was made with."""
    return str(pod["spec"]["containers"][0]["image"])


def is_finished(session: Json) -> bool:
    """Return whether the session has finished, well or not."""
    return "completionTime" in session.get("status", {})


def model_requests(terminal: Terminal, api: Api, session_id: str) -> int:
    """Return how many model calls of a session the stand-in has seen."""
    return int(model_seen(terminal, api, session_id).get("requests", 0))


def model_seen(terminal: Terminal, api: Api, session_id: str) -> Json:
    """Return what the stand-in has seen of a session: counts, and digests of the prompts of its last request."""
    found: Json = all_model_seen(terminal, api).get(session_id, {})
    return found


def all_model_seen(terminal: Terminal, api: Api) -> dict[str, Json]:
    """Return what the stand-in has seen, by session."""
    name = manifests.STAND_IN_NAMESPACE
    pod = api.list(PODS, name, labelSelector="app=model-standin")[0]["metadata"]["name"]
    fetch = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/_requests').read().decode())"
    seen = json.loads(terminal.execute(name, str(pod), manifests.SERVER_PYTHON, "-c", fetch))
    found: dict[str, Json] = seen["sessions"]
    return found


Labs = Callable[..., AbstractContextManager[Lab]]
"""Opens a Lab; `ends_operator` says that the operator will be ended on purpose, `name` what the namespace is called."""
