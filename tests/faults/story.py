"""One session under faults, and what became of its messages: told by a client that asks until it knows."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp

from e2e import manifests
from e2e.api import PODS, SESSIONS, Json
from e2e.gateway import Client, read_events
from e2e.stage import Stage
from e2e.stores import Store
from e2e.waiting import WaitFailed
from standin.conversation import digest

PATIENCE = 300
"""Seconds until a message of which nobody can say what became of it is a failure."""
_ATTEMPT_SECONDS = 60
"""After which a client that hears nothing asks again."""
GONE_SECONDS = 60
"""Within which nothing is left of a deleted session, counted from when no fault lasts any more."""
DISK_MEGABYTES = 200
"""What a session may have of its node's disk."""
_SMALL = {
    "cpu": "1",
    "memory": "600Mi",
    "ephemeralStorage": f"{DISK_MEGABYTES}M",
    "requests": {"cpu": "10m", "memory": "64Mi"},
}


@dataclass
class Story:
    """A Hybrid session; `acknowledged` and `cut` are digests of its messages, in order of sending.

    `volume`: with a claim. `rounds` is how many it has been in, `known_end` how its host had ended before this one.
    """

    stage: Stage
    store: Store
    name: str
    uid: str = ""
    sent: int = 0
    acknowledged: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    volume: bool = False
    deleted: bool = False
    rounds: int = 0
    known_end: Json = field(default_factory=dict)

    def begin(self) -> None:
        """Apply it."""
        spec = {"sessionStore": self.store.given_to(self.stage.lab, onDelete="Delete"), "idleTimeoutSeconds": 3600}
        spec["resources"] = _SMALL  # a node that a fault has emptied leaves little room
        if self.volume:
            spec["workspace"] = {"storage": "1Gi"}
        made = self.stage.lab.api.apply(manifests.hybrid(self.stage.lab.namespace, self.name, **spec))
        self.uid = str(made["metadata"]["uid"])

    def pod(self) -> str:
        """Return its pod, or nothing while it has none."""
        return str(self._status().get("host", {}).get("pod", ""))

    def runs(self) -> bool:
        """Return whether its pod is there and its container runs: whether there is something to strike at."""
        states = [one["state"] for one in self._pod_body().get("status", {}).get("containerStatuses", [])]
        return any("running" in state for state in states)

    def note_end(self) -> None:
        """Take note of what its status says now of how its host ended last."""
        self.known_end = self._last_end()

    def ended_by(self) -> str:
        """Return why its host ended last, by its status; nothing if it has not since that was taken note of."""
        last = self._last_end()
        return "" if last == self.known_end else str(last["reason"])

    def _last_end(self) -> Json:
        found: Json = self._status().get("lastTermination", {})
        return found

    def lost(self, pod: str) -> bool:
        """Return whether that pod of it has ended."""
        found = self.stage.lab.api.get(PODS, self.stage.lab.namespace, pod)
        return found is None or found["status"].get("phase") in ("Failed", "Succeeded")

    def suspend(self) -> None:
        """Put it to sleep, and let it take messages again."""
        self._patch(True)
        self.stage.lab.reason(self.name, "Suspended", PATIENCE)
        self._patch(None)
        self.stage.lab.reason(self.name, "Asleep", PATIENCE)

    def delete(self) -> None:
        """Delete it, and wait until it is gone."""
        self.deleted = True
        self.stage.lab.api.delete(SESSIONS, self.stage.lab.namespace, self.name)
        self.stage.lab.gone(SESSIONS, self.name, PATIENCE)

    def end(self) -> list[str]:
        """Delete it, unless that has been done, and return what is left of it when nothing should be."""
        if not self.deleted:
            self.deleted = True
            self.stage.lab.api.delete(SESSIONS, self.stage.lab.namespace, self.name)
        until = time.monotonic() + GONE_SECONDS
        with suppress(WaitFailed):  # what is left says so below
            self.stage.lab.gone(SESSIONS, self.name, GONE_SECONDS)
        while (left := self._left()) and time.monotonic() < until:
            time.sleep(0.5)
        return [f"still there {GONE_SECONDS} s after its deletion: {', '.join(left)}"] if left else []

    def _left(self) -> list[str]:
        """Return what there is of it: itself, its pods, Secrets and claims."""
        there = self.stage.lab.api.get(SESSIONS, self.stage.lab.namespace, self.name) is not None
        children = self.stage.lab.children({"metadata": {"uid": self.uid}})
        return ["the session"] * there + [f"{kind} {name}" for kind, names in children.items() for name in names]

    async def say(self, *steps: Json) -> None:
        """Send a message until it is known what became of it, always under the same key."""
        self.sent += 1
        text = f"{self.name} {self.sent}: " + manifests.prompt(*steps)
        outcome, until, tries = "", time.monotonic() + PATIENCE, 0
        while not outcome and time.monotonic() < until:
            outcome = await _attempt(self._client(tries), text, f"key-{self.sent}")
            tries += 1
            await asyncio.sleep(0 if outcome else 1)
        assert outcome, f"nobody could say what became of message {self.sent}"
        (self.acknowledged if outcome == "done" else self.cut).append(digest(text))

    def problems(self, seen: Mapping[str, Json], *, repeats: bool = False) -> list[str]:
        """Return what must not be, by what the model has seen of each session.

        `repeats`: a CLI may have lost its connection and asked again by itself; then it counts from how many pods.
        """
        mine = seen.get(self.uid, {})
        history: list[str] = mine.get("prompts", [])
        begun = Counter[str](mine.get("askers" if repeats else "begun", {}))
        if self.acknowledged and not set(history) & set(self.acknowledged):
            return [f"a blank conversation: {len(self.acknowledged)} acknowledged turns are not in it"]
        lost = [one for one in self.acknowledged if one not in history]
        # Also one whose first run was lost with its pod, and is in no history.
        strange = begun.keys() - {*self.acknowledged, *self.cut}
        twice = [one for one in (*self.acknowledged, *self.cut) if begun[one] > 1 or history.count(one) > 1]
        again = sum(
            1 for step, times in mine.get("steps", {}).items() if times > 1 and not (repeats or step.endswith(" 0"))
        )
        order = [one for one in history if one in self.acknowledged]
        out = [f"{len(lost)} acknowledged turns lost"] if lost else []
        out += [f"{len(twice)} turns run twice"] if twice else []
        out += [f"{again} of the model's further answers in a turn asked for twice"] if again else []
        out += [f"{len(strange)} turns that nobody asked for"] if strange else []
        return out + (["turns out of order"] if not lost and not twice and order != self.acknowledged else [])

    def _status(self) -> Json:
        """Return its status; empty while there is none."""
        found: Json = self.stage.lab.api.get(SESSIONS, self.stage.lab.namespace, self.name) or {}
        return found.get("status") or {}

    def _pod_body(self) -> Json:
        """Return its pod as the API server has it; empty while it has none."""
        name = self.pod()
        return (name and self.stage.lab.api.get(PODS, self.stage.lab.namespace, name)) or {}

    def _patch(self, suspended: bool | None) -> None:
        self.stage.lab.api.patch(SESSIONS, self.stage.lab.namespace, self.name, {"spec": {"suspended": suspended}})

    def _client(self, tries: int) -> Client:
        """Return a way in; the next try takes the next gateway."""
        ways = list(self.stage.gateway.urls.values())
        return self.stage.client(self.name, base=ways[tries % len(ways)])


async def _attempt(client: Client, text: str, key: str) -> str:
    """Return what became of a message: done, cut, or nothing if nobody could say."""
    call = client.call("POST", "/messages", json={"prompt": text}, headers={"Idempotency-Key": key})
    try:
        async with asyncio.timeout(_ATTEMPT_SECONDS), call as answer:
            if answer.status == 409:
                return "cut" if "turn-interrupted" in await answer.text() else ""
            if answer.status != 200:
                return ""
            kinds = [event.kind async for event in read_events(answer)]
            return "done" if kinds[-1:] == ["done"] else ""
    except (aiohttp.ClientError, OSError, TimeoutError):
        return ""
