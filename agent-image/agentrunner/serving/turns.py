"""The messages of a session: one turn at a time, a bounded queue, and keys by which a repeated message is known.

What is running and what was done is kept on disk, so that a message that a crash cut off is never run twice.
"""

import asyncio
import json
import math
from collections import OrderedDict, deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid4, uuid5

from agentrunner.serving.files import load, save
from agentrunner.serving.problems import Problem, no_room
from agentrunner.serving.reserve import Reserve

KEPT = 100
"""Turns that are remembered by their keys; more if so many are not over."""

_ROOM_SECONDS = 1.0
"""How often is looked whether there is room again on a disk that is full."""

_PATIENCE_SECONDS = 10.0
"""How long each message waits for room once it is its turn to begin; those behind it wait as long again, one by one.

Whoever suspends waits for all of them, who drains for the first: the others are given back.
"""

State = Literal["queued", "running", "done", "interrupted"]


@dataclass(eq=False)
class Turn:
    """One message and what became of it. `after`: number of the last event before its own.

    `asked`: its process has it. `unwanted`: it was interrupted before that.
    """

    number: int
    prompt: str = field(repr=False)
    key: str
    state: State = "queued"
    after: int = 0
    incarnation: str = ""
    uuid: str = field(default_factory=lambda: str(uuid4()))
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    asked: bool = False
    unwanted: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ("done", "interrupted")


class Turns:
    """The queue of one session. Only the session's own worker takes from it.

    `session_id` makes the uuid of a message that has a key: it stands in the transcript, by which it is known when the
    file at `path` is gone with its pod. `reserve` is spent on what else could not be written down.
    """

    def __init__(self, path: Path, max_queued: int, session_id: str = "", reserve: Reserve | None = None) -> None:
        self._path = path
        self._reserve = reserve
        self._max_queued = max_queued
        self._session_id = session_id
        self._said: frozenset[str] = frozenset()
        self._doubtful: frozenset[str] = frozenset()
        self._cut: str | None = None
        self._waiting: deque[Turn] = deque()
        self._known: OrderedDict[str, Turn] = OrderedDict()
        self._news = asyncio.Event()
        self.running: Turn | None = None
        self.count = 0
        self._read()
        if reserve is not None:
            reserve.keep()

    @property
    def cut(self) -> str | None:
        """The message whose turn the loss of a pod cut, by uuid."""
        return self._cut

    @property
    def queued(self) -> int:
        """Messages that wait."""
        return len(self._waiting)

    @property
    def busy(self) -> bool:
        """Whether a turn runs or waits."""
        return self.running is not None or bool(self._waiting)

    def knows(self, key: str | None) -> bool:
        """Return whether there was a message with that key."""
        return key is not None and (key in self._known or self._from_transcript(key) is not None)

    def submit(self, prompt: str, key: str | None, *, reject_when_busy: bool, after: int, incarnation: str) -> Turn:
        """Return the turn of a message: a new one, or the one that the same key had before. Raises Problem."""
        if key is not None and (known := self._known.get(key) or self._from_transcript(key)) is not None:
            return _repeated(known)
        if reject_when_busy and self.busy:
            raise Problem(409, "turn-in-progress", "The session is answering another message.")
        # One that runs, and `max_queued` that wait for it.
        if self.busy and len(self._waiting) >= self._max_queued:
            raise Problem(429, "queue-full", "Too many messages wait for this session.", {"Retry-After": "5"})
        self.count += 1
        turn = Turn(self.count, prompt, key or "", after=after, incarnation=incarnation)
        if key is not None and self._session_id:
            turn.uuid = message_uuid(self._session_id, key)
        self._remember(turn)
        self._waiting.append(turn)
        self._news.set()
        return turn

    async def next(self) -> Turn:
        """Wait for the next turn, and make it the running one; it has no effect before it is `begun`."""
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        turn = self.running = self._waiting.popleft()
        turn.state = "running"
        return turn

    async def begun(self, turn: Turn, bound: float | None = None) -> bool:
        """Write down that a turn begins, and return whether there was room for it in time.

        `bound`: seconds that the turn may take in all. One that is interrupted meanwhile does not begin either.
        """
        if self._reserve is not None:
            self._reserve.make_room()
        tries = max(1, math.ceil(min(_PATIENCE_SECONDS, bound or _PATIENCE_SECONDS) / _ROOM_SECONDS))
        while not self._written():
            tries -= 1
            if turn.unwanted or tries <= 0:
                return False
            await asyncio.sleep(_ROOM_SECONDS)
        return True

    def take_back(self, turn: Turn) -> None:
        """End a turn that had no effect: its message may be sent again under its key."""
        self._known.pop(turn.key, None)
        self.end(turn, "interrupted")

    async def rest(self) -> None:
        """Wait until nothing runs or waits."""
        while (turn := self.running or next(iter(self._waiting), None)) is not None:
            await turn.ended.wait()

    def end(self, turn: Turn, state: State) -> None:
        """Say that a turn is over."""
        turn.state = state
        if self.running is turn:
            self.running = None
        # Without room for it a restarted host takes the turn for one that was cut: it is never begun again.
        self._written()
        if self._reserve is not None:
            self._reserve.keep()  # again, if the turn has cleared the volume
        turn.ended.set()

    def found(self, messages: Iterable[str], cut: str | None, doubtful: Iterable[str] = ()) -> None:
        """Take note of what is known of earlier pods: all messages by uuid, the last one if its turn was cut,

        and all those that did not come to their end, as far as anybody can say.
        """
        said = frozenset(messages)
        self._doubtful = frozenset(doubtful) | ({cut} if cut is not None else frozenset())
        self._said, self._cut = said | self._doubtful, cut
        self.count = max(self.count, len(said))

    def drop_waiting(self) -> list[Turn]:
        """Take back every message that has not begun; it had no effect, so it may be sent again under its key."""
        dropped = list(self._waiting)
        self._waiting.clear()
        for turn in dropped:
            self.take_back(turn)
        return dropped

    def _from_transcript(self, key: str) -> Turn | None:
        """Return the turn of a message that an earlier pod took, if there is one with that key."""
        uuid = message_uuid(self._session_id, key) if self._session_id else ""
        if uuid not in self._said:
            return None
        turn = Turn(0, "", key, "interrupted" if uuid in self._doubtful else "done")
        turn.ended.set()
        return turn

    def _remember(self, turn: Turn) -> None:
        """Know a turn by its key; one that has none cannot be asked for again. Raises Problem if there is no room."""
        if turn.key:
            self._known[turn.key] = turn
        if not self._written():
            self._known.pop(turn.key, None)
            self.count -= 1
            raise no_room()
        # Only now: a message that is refused must cost no other one its key. One that is not over keeps it anyway.
        over = [key for key, one in self._known.items() if one.is_over]
        for key in over[: max(0, len(self._known) - KEPT)]:
            del self._known[key]

    def _written(self) -> bool:
        """Keep what is known, and return whether there was room for it."""
        with suppress(OSError):
            self._write()
            return True
        if self._reserve is None:
            return False
        self._reserve.spend()
        with suppress(OSError):
            self._write()
            return True
        return False

    def _write(self) -> None:
        """Keep what is known; it must never hold a prompt."""
        turns = [{"number": t.number, "key": t.key, "state": t.state} for t in self._known.values()]
        save(self._path, {"version": 1, "count": self.count, "turns": turns})

    def _read(self) -> None:
        """Take up what an earlier process left: what had not ended was cut."""
        stored = load(self._path) or {}
        self.count = int(stored.get("count", 0))
        for one in stored.get("turns", []):
            if one.get("state") == "queued":
                continue  # it had not begun
            turn = _stored(one)
            self._known[turn.key] = turn


def message_uuid(session_id: str, key: str) -> str:
    """Return the uuid under which a message with this key stands in its session's transcript."""
    return str(uuid5(UUID(session_id), f"message {key}"))


def _stored(one: dict[str, Any]) -> Turn:
    state: State = "done" if one.get("state") == "done" else "interrupted"
    turn = Turn(int(one["number"]), "", str(one["key"]), state)
    turn.ended.set()
    return turn


def _repeated(turn: Turn) -> Turn:
    """Return a turn that is asked for again, unless it was cut: whether it had its effect nobody can say."""
    if turn.state == "interrupted":
        raise Problem(
            409,
            "turn-interrupted",
            "This message was being answered when the session was cut off. Look at the transcript, then send it under "
            "another Idempotency-Key if it is to run again.",
        )
    return turn


def parse_message(text: str | bytes) -> tuple[str, str | None]:
    """Return prompt and idempotency key of a message's JSON; raises Problem."""
    try:
        body: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise Problem(400, "not-json", 'The body must be JSON, for example {"prompt": "…"}.') from None
    prompt = body.get("prompt") if isinstance(body, dict) else None
    if not isinstance(prompt, str) or not prompt.strip():
        raise Problem(422, "no-prompt", "`prompt` must be a text that is not empty.")
    key = body.get("idempotencyKey")
    return prompt, key if isinstance(key, str) and key else None
