"""Watches all agent pods during the whole run and remembers, so that tests can ask what really happened."""

import json
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import urllib3

from e2e.api import PODS, Api, ApiError, Json
from e2e.manifests import CANARY

_LABEL = "agentsessions.dev/session-uid"
_SELECTOR = f"app.kubernetes.io/managed-by=agentsessions,{_LABEL}"


@dataclass(slots=True)
class Life:
    """One pod from its first event to its end; `born` and `ended` are places in the order of events."""

    name: str
    uid: str
    session: str
    namespace: str
    attempt: int
    born: int
    ended: int | None = None
    leaked: bool = False


@dataclass
class Witness:
    """A thread that watches. `stop` it at the end; a watch that broke for good is told by `check`.

    An API server that was started anew has forgotten what to go on from: who ends it on purpose says so in `may_miss`.
    What lives after such a gap is seen, what came and went in it is not.
    """

    api: Api
    lives: dict[str, Life] = field(default_factory=dict)
    may_miss: int = 0
    _missed: int = 0
    _clock: int = 0
    _stopped: threading.Event = field(default_factory=threading.Event)
    _started: threading.Event = field(default_factory=threading.Event)
    _problem: str = ""

    def start(self) -> None:
        """Start to watch; returns once events would be seen."""
        threading.Thread(target=self._run, name="witness", daemon=True).start()
        assert self._started.wait(30), "the witness could not start to watch pods"

    def stop(self) -> None:
        """Stop to watch; the thread ends with its present request."""
        self._stopped.set()

    def of(self, session_uid: str) -> list[Life]:
        """Return the pods of a session in order of birth."""
        return [life for life in self._in_order() if life.session == session_uid]

    def check(self, namespace: str) -> None:
        """Fail if two pods of one session were alive at a time, or one pod's manifest showed a prompt."""
        assert not self._problem, self._problem
        sessions = defaultdict[str, list[Life]](list)
        for life in self._in_order():
            if life.namespace == namespace:
                assert not life.leaked, f"the prompt stands in the manifest or status of pod {life.name}"
                sessions[life.session].append(life)
        found = [text for lives in sessions.values() for text in _at_once(lives)]
        assert not found, "; ".join(found)

    def at_once(self, session_uid: str) -> list[str]:
        """Return which pods of a session were born before their predecessors had ended."""
        return _at_once(self.of(session_uid))

    def _in_order(self) -> list[Life]:
        return sorted(self.lives.values(), key=lambda life: life.born)

    def _run(self) -> None:
        """Watch again and again from where the last watch ended."""
        version = ""
        while not self._stopped.is_set():
            try:
                version = version or self._list()
                self._started.set()
                for event, pod in self.api.watch(
                    PODS, None, 30, resourceVersion=version, labelSelector=_SELECTOR, allowWatchBookmarks="true"
                ):
                    version = pod["metadata"]["resourceVersion"]
                    if event != "BOOKMARK":
                        self._note(event, pod)
            except (ApiError, urllib3.exceptions.HTTPError) as error:
                if isinstance(error, ApiError) and error.code == 410:
                    version, self._missed = "", self._missed + 1
                    if self._missed > self.may_miss:
                        self._problem = "the witness missed events: its watch was too old to go on"
                        return
            except Exception as error:
                self._problem = f"the witness died: {error!r}"
                raise

    def _list(self) -> str:
        """Note what exists, and what does not any more; return the version to watch from."""
        listed = self.api.request("GET", PODS.path(), query={"labelSelector": _SELECTOR})
        there = {pod["metadata"]["uid"] for pod in listed["items"]}
        for life in self.lives.values():
            if life.uid not in there and life.ended is None:
                life.ended = self._clock
        for pod in listed["items"]:
            self._note("ADDED", pod)
        return str(listed["metadata"]["resourceVersion"])

    def _note(self, event: str, pod: Json) -> None:
        """Take note of one event."""
        self._clock += 1
        meta = pod["metadata"]
        life = self.lives.setdefault(meta["uid"], _newborn(pod, self._clock))
        life.leaked = life.leaked or CANARY in json.dumps(pod)
        over = event == "DELETED" or pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        if over and life.ended is None:
            life.ended = self._clock


def _at_once(lives: Sequence[Life]) -> list[str]:
    """Return which pods of one session were born before their predecessors had ended."""
    return [
        f"pods {before.name} and {after.name} of one session were alive at once"
        for before, after in pairwise(lives)
        if before.ended is None or before.ended >= after.born
    ]


def _newborn(pod: Json, now: int) -> Life:
    """Return the life of a pod that was just seen for the first time."""
    meta, labels = pod["metadata"], pod["metadata"]["labels"]
    attempt = int(labels["agentsessions.dev/attempt"])
    return Life(meta["name"], meta["uid"], labels[_LABEL], meta["namespace"], attempt, born=now)
