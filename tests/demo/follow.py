"""Follows one session to its end: the session, its pods and the agent's log, shown as they change.

Three programs are read at once, each in a thread that only puts what it reads into one queue.
"""

import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO

from demo.console import Console
from demo.errors import DemoError
from demo.narrate import is_tool_answer, log_line, pod_line, session_line
from demo.programs import Json, Program, output_of

_LAST_WORDS = 3.0
"""Seconds that the agent's log is given to end once the session has."""

Item = tuple[str, Json | str]


def objects(text: IO[str]) -> Iterator[Json]:
    """Yield the JSON objects that `kubectl get --watch --output=json` prints one after the other."""
    decoder, pending = json.JSONDecoder(), ""
    for line in text:
        pending += line
        if line.rstrip() == "}":
            value, end = decoder.raw_decode(pending.lstrip())
            pending = pending.lstrip()[end:]
            yield value


@dataclass
class Follower:
    """Shows one session until it has finished."""

    kubectl: Program
    console: Console
    namespace: str
    name: str
    tool_calls: int = 0
    """Tool calls of the agent that worked, as its log tells."""
    _items: "queue.Queue[Item]" = field(default_factory=queue.Queue)
    _programs: "list[subprocess.Popen[str]]" = field(default_factory=list)
    _threads: dict[str, threading.Thread] = field(default_factory=dict)
    _shown: dict[str, str] = field(default_factory=dict)
    _created: datetime | None = None

    def follow(self, seconds: float) -> Json:
        """Show what happens until the session has finished, and return it; raises DemoError after `seconds`."""
        self._watch("session", "get", "agentsession", self.name)
        self._watch("pod", "get", "pods", f"--selector=agentsessions.dev/session={self.name}")
        try:
            return self._until_finished(time.monotonic() + seconds)
        finally:
            self._end()

    def _end(self) -> None:
        """End the programs that are being read; their threads end with them."""
        for program in self._programs:
            program.kill()
            program.wait()
        for thread in self._threads.values():
            thread.join(_LAST_WORDS)
        for program in self._programs:
            output_of(program).close()

    def _until_finished(self, end: float) -> Json:
        """Take one item after another; the session's last one ends it."""
        while True:
            kind, item = self._next(end)
            if kind == "session" and isinstance(item, dict):
                if "completionTime" in item.get("status", {}):
                    self._drain()
                    self._show_session(item)
                    return item
                self._show_session(item)
            else:
                self._show(kind, item)

    def _next(self, end: float) -> Item:
        """Return the next item, in time."""
        try:
            return self._items.get(timeout=max(0.1, end - time.monotonic()))
        except queue.Empty:
            last = self._shown.get("session", "nothing")
            where = "kubectl --namespace agentsessions-system logs deployment/agentsessions"
            raise DemoError(
                f"the session has not finished in time; it stands at: {last}\nThe operator's log: {where}"
            ) from None

    def _drain(self) -> None:
        """Show what the agent and the pod still have to say."""
        if log := self._threads.get("agent"):
            log.join(_LAST_WORDS)
        while not self._items.empty():
            self._show(*self._items.get())

    def _show(self, kind: str, item: Json | str) -> None:
        """Show one item of any kind."""
        if isinstance(item, str):
            self.tool_calls += is_tool_answer(item)
            line = log_line(item)
            if line is not None:
                self._say("agent", line)
        elif kind == "pod":
            self._show_pod(item)
        else:
            self._show_session(item)

    def _show_session(self, session: Json) -> None:
        self._created = datetime.fromisoformat(session["metadata"]["creationTimestamp"])
        self._once("session", session_line(session))

    def _show_pod(self, pod: Json) -> None:
        """Show a pod, and begin to read its log once there is one."""
        if pod.get("kind") != "Pod":
            return
        self._once("pod", pod_line(pod))
        states = [item.get("state", {}) for item in pod.get("status", {}).get("containerStatuses", [])]
        if any("running" in state for state in states) and "agent" not in self._threads:
            words = ("logs", "--follow", pod["metadata"]["name"], f"--namespace={self.namespace}")
            self._read("agent", self.kubectl.stream(*words), lambda text: iter(text))

    def _watch(self, kind: str, *words: str) -> None:
        """Begin to read how something changes."""
        options = (f"--namespace={self.namespace}", "--watch", "--output=json")
        self._read(kind, self.kubectl.stream(*words, *options), objects)

    def _read(
        self, kind: str, program: "subprocess.Popen[str]", parse: Callable[[IO[str]], Iterator[Json | str]]
    ) -> None:
        """Read a program's output in a thread of its own."""
        self._programs.append(program)

        def work() -> None:
            for item in parse(output_of(program)):
                self._items.put((kind, item))

        self._threads[kind] = thread = threading.Thread(target=work, name=kind, daemon=True)
        thread.start()

    def _once(self, who: str, line: str) -> None:
        """Say a line unless it was the last one of its kind."""
        if self._shown.get(who) != line:
            self._shown[who] = line
            self._say(who, line)

    def _say(self, who: str, line: str) -> None:
        age = (datetime.now(UTC) - self._created).total_seconds() if self._created else 0.0
        self.console.event(max(0.0, age), who, line)
