"""Counters by session: how often it asked, and which scripted errors it has already been given.

Kept in memory for the life of the process. It must never keep anything of a request but numbers, and digests of its
prompts: enough to tell whose conversation it was, and not what was said.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import count


@dataclass(slots=True)
class SessionCount:
    """What is known of one session's requests; `begun`: how often each prompt was the last word, by its digest.

    `steps`: how often each request came, by the digest of its prompt and how many answers there were to that already.
    `askers`: how many addresses a first answer to each prompt was asked for from.
    """

    requests: int = 0
    errors: int = 0
    messages: int = 0
    answers: int = 0
    prompts: tuple[str, ...] = ()
    begun: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    askers: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Ledger:
    """All sessions seen since the process started."""

    sessions: dict[str, SessionCount] = field(default_factory=dict)
    given: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    addresses: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    _serials: Iterator[int] = field(default_factory=lambda: count(1))

    def next_serial(self) -> str:
        """Return a number that no other answer has."""
        return f"{next(self._serials):06d}"

    def note_request(
        self, session: str, messages: int, answers: int, prompts: tuple[str, ...] = (), address: str = ""
    ) -> None:
        """Count one request from an address, with so many messages, so many of them the model's, and these prompts."""
        seen = self.sessions.setdefault(session, SessionCount())
        seen.requests += 1
        seen.messages, seen.answers, seen.prompts = messages, answers, prompts
        if prompts:
            step = f"{prompts[-1]} {answers}"
            seen.steps[step] = seen.steps.get(step, 0) + 1
        if not answers and prompts:
            seen.begun[prompts[-1]] = seen.begun.get(prompts[-1], 0) + 1
            known = self.addresses.setdefault((session, prompts[-1]), set())
            known.add(address)
            seen.askers[prompts[-1]] = len(known)

    def note_error(self, session: str) -> None:
        """Count one scripted error."""
        self.sessions.setdefault(session, SessionCount()).errors += 1

    def take_error(self, session: str, turn: int, step: int, times: int | None) -> bool:
        """Return whether this error is still due for the session, and count it if so."""
        if times is not None and self.given[session, turn, step] >= times:
            return False
        self.given[session, turn, step] += 1
        return True

    def as_json(self) -> dict[str, object]:
        """Return the counts for `GET /_requests`."""
        sessions = {name: asdict(count) for name, count in self.sessions.items()}
        return {"total": sum(c.requests for c in self.sessions.values()), "sessions": sessions}
